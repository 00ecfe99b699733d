"""Sections and whole pages, without a browser: what is said, what is left out, what is refused."""

import json
import shutil

import numpy as np
import pytest
import yaml
from bokeh.models import DataTable, Div

from limbeck.config import ConfigError
from limbeck.evaluation.qrels import read_qrels
from limbeck.reporting.page.curves import learning_curves
from limbeck.reporting.page.gains import gains
from limbeck.reporting.page.leaderboard import Shown, leaderboard, table
from limbeck.reporting.page.page import page
from limbeck.reporting.page.records import commands, differences, environment, unfinished
from limbeck.reporting.page.runs import read
from limbeck.reporting.page.scatter import POINTS, _most, against_teacher
from limbeck.reporting.page.terms import term_weights


def absent(place):
    raise ConfigError(f"no collection <{place.split}>")


def runs_of(folder):
    return sorted(path.parent for path in folder.glob("*/result.json"))


def change(path, name, edit):
    """Edit a JSON or YAML file of a run."""
    file = path / name
    parse, write = (json.loads, json.dumps) if name.endswith("json") else (yaml.safe_load, yaml.safe_dump)
    content = parse(file.read_text())
    edit(content)
    file.write_text(write(content))


def tables(section):
    found = [each for model in section.models for each in model.select({"type": DataTable})]
    return {table.name: table for table in found}


def cells(table):
    """Column → values, as shown."""
    return {column.title: list(table.source.data[column.field]) for column in table.columns}


@pytest.fixture(scope="module")
def whole(made):
    return read(made)


def test_the_leaderboard_has_means_and_deviations_over_seeds(whole):
    found = tables(leaderboard(whole))
    assert set(found) == {"configurations of synthetic", "runs of synthetic"}
    means, runs = (cells(found[f"{name} of synthetic"]) for name in ("configurations", "runs"))
    assert sorted(runs["configuration"]) == ["CKL", "CKL", "KL", "KL"]
    assert sorted(runs["seed"]) == [1, 1, 2, 2]
    assert [*means] == ["configuration", "seeds", "nDCG@10", "MRR@10", "R@100"]  # nothing twice
    row = means["configuration"].index("KL")
    own = [value for value, name in zip(runs["nDCG@10"], runs["configuration"], strict=True) if name == "KL"]
    assert means["nDCG@10"][row] == pytest.approx(np.mean(own))
    table = found["configurations of synthetic"]
    data = table.source.data
    assert data["t2"][row].rstrip(" ▲▼") == f"{np.mean(own):.4f} ± {np.std(own, ddof=1):.4f}"
    students = [place for place, seeds in enumerate(means["seeds"]) if seeds]
    assert [data["b2"][place] for place in students] == [
        means["nDCG@10"][place] == max(means["nDCG@10"][each] for each in students) for place in students
    ]
    assert not any(best for place, best in enumerate(data["b2"]) if place not in students)  # a teacher does not compete
    assert means["seeds"][row] == 2
    assert {"KL", "teacher"} < set(means["configuration"])
    assert runs["nDCG@10"] == sorted(runs["nDCG@10"], reverse=True)
    assert table.width < 1100


def test_marks_are_those_of_the_corrected_test_against_the_baseline_that_is_named(whole, sweep):
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert "baseline KL (the first configuration; baseline= chooses another)" in said(leaderboard(whole))
    for path in runs_of(sweep):
        if "ckl" in yaml.safe_load((path / "config.yaml").read_text())["loss"]:
            file = path / "per_query" / "test.student.parquet"
            values = pq.read_table(file).to_pydict()
            better = [1.0 - number / 100 for number, _ in enumerate(values["ndcg@10"])]
            pq.write_table(pa.table({**values, "ndcg@10": better}), file)
    section = leaderboard(read(sweep), "CKL")
    assert "baseline CKL (chosen by baseline=); paired t-test" in said(section)
    assert "family of 3 comparisons" in said(section)
    table = tables(section)["configurations of synthetic"]
    row = list(table.source.data["c0"]).index("KL")
    assert table.source.data["t2"][row].endswith(" ▼")


def said(section):
    return " ".join(each.text for model in section.models for each in model.select({"type": Div}))


def test_a_wide_table_has_fewer_digits():
    rows = [{"configuration": "x" * 30, **{f"m{n}": Shown(0.12345, 0.01234, "▲", True) for n in range(7)}}]
    made = table(rows, by="m0", name="wide")
    assert made.source.data["t1"] == ["0.123 ± 0.012 ▲"]
    assert sum(column.width for column in made.columns) < 1100
    assert table(rows[:1], by="m0", name="x").columns[1].title == "m0"


def test_gains_are_over_the_first_or_the_named_configuration(whole):
    assert "KL, 2 seeds" in gains(whole, None).models[0].children[0].text
    run = next(run for run in whole.runs if run.label == "ckl")
    for baseline in ("ckl", "CKL", run.id, "loss=[ckl]", "loss=[ckl] seed=2"):
        assert "Baseline: CKL, 2 seeds" in gains(whole, baseline).models[0].children[0].text


def test_a_baseline_that_fits_nothing_or_too_much_is_refused(whole):
    with pytest.raises(ConfigError, match="baseline: 'bkl' is no configuration"):
        gains(whole, "bkl")
    with pytest.raises(ConfigError, match="fits several configurations on synthetic: kl, ckl"):
        gains(whole, "seed=1")


def test_weights_are_drawn_where_judgments_can_be_had(whole, cache):
    qrels = next(cache.glob("synthetic/*/qrels/test.tsv"))
    section = term_weights(whole, lambda place: read_qrels(qrels))
    assert len(section.models) == 1
    assert "KL" in section.html
    assert "γ = 5 and α = 1" in section.intro
    missing = term_weights(whole, absent)
    assert missing.models == []
    assert "no collection &lt;test&gt;" in missing.html


def test_only_what_differs_is_shown(whole):
    told = differences(whole).html
    assert "<th>loss.ckl.gamma</th><td>–</td><td>5</td>" in told
    assert "seed" not in told
    assert "optim.lr" not in told


def test_environments_that_differ_are_warned_of(sweep):
    assert "not all made alike" not in environment(read(sweep)).html
    first = runs_of(sweep)[0]
    change(first, "env.json", lambda env: env.update(cores=123))
    told = environment(read(sweep)).html
    assert "cores differ, so times cannot be compared" in told
    assert f"<code>123</code> <small>(1 run: {first.name})" in told
    change(first, "env.json", lambda env: env["versions"].update(torch="0.1"))
    assert "cores, torch differ, so their results may differ" in environment(read(sweep)).html


def test_commands_are_quoted_for_a_shell(whole):
    told = commands(whole).html
    assert "&#x27;loss=[ckl]&#x27;" in told


def test_commands_keep_the_folder_of_configurations(sweep):
    change(runs_of(sweep)[0], "env.json", lambda env: env.update(command=["limbeck", "train", "-cd=my=own dir", "a=b"]))
    assert "limbeck train --config-dir &#x27;my=own dir&#x27; " in commands(read(sweep)).html
    (runs_of(sweep)[0] / "result.json").unlink()
    assert "limbeck train --config-dir &#x27;my=own dir&#x27; " in unfinished(read(sweep)).html


def test_failed_unfinished_and_incomplete_runs_are_told(sweep):
    one, other, *_ = runs_of(sweep)
    (one / "result.json").unlink()
    change(other, "result.json", lambda result: result["sets"].update(far={"missing": "no such folder & co"}))
    told = unfinished(read(sweep)).html
    assert "failed" in told
    assert "absent" in told  # of the last line of the error
    assert "Traceback" not in told
    assert f"<th>{one.name}</th><td>unfinished</td>" in told
    assert f"<th>{other.name}</th><td>lacks far</td><td>no such folder &amp; co</td>" in told


def test_one_run_alone_has_a_page(sweep):
    keep, *others = runs_of(sweep)
    for path in others:
        shutil.rmtree(path)
    one = read(sweep)
    assert [run.label for run in one.runs] == ["kl"] or [run.label for run in one.runs] == ["ckl"]
    assert "one configuration only" in gains(one, None).html
    assert "one configuration only" in differences(one).html
    assert keep.name in page(one, absent)


def test_seeds_of_one_configuration_stay_together(sweep):
    for path in runs_of(sweep):
        if "ckl" in yaml.safe_load((path / "config.yaml").read_text())["loss"]:
            shutil.rmtree(path)
    assert [(run.name, run.seed) for run in read(sweep).runs] == [("kl", 1), ("kl", 2)]


def test_what_is_missing_leaves_a_sentence(sweep):
    for path in runs_of(sweep):
        for file in path.glob("*/test.teacher.*"):
            file.unlink()
        shutil.rmtree(path / "metrics")
        (path / "env.json").unlink()
    bare = read(sweep)
    assert "there are no values of a teacher" in against_teacher(bare).html
    assert "there is no teacher" in gains(bare, None).html
    assert "there is no run file test.teacher.trec" in term_weights(bare, absent).html
    assert "no metrics/version_N/metrics.csv" in learning_curves(bare).html
    assert "not noted" in commands(bare).html
    assert "Leaderboard" in page(bare, absent)


def test_several_teachers_have_no_common_quality(sweep):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = runs_of(sweep)[0] / "per_query" / "test.teacher.parquet"
    table = pq.read_table(file).to_pydict()
    pq.write_table(pa.table({**table, "ndcg@10": [1 - value for value in table["ndcg@10"]]}), file)
    changed = read(sweep)
    assert "not the same for all runs" in gains(changed, None).html
    assert against_teacher(changed).html == ""


def test_no_validation_is_told(sweep):
    for path in runs_of(sweep):
        for file in path.glob("metrics/*/metrics.csv"):
            file.write_text(file.read_text().replace("dev/", "other/"))
    assert "No run has validated" in learning_curves(read(sweep)).html


def test_collections_are_told_apart(sweep):
    for path in runs_of(sweep)[:2]:
        change(path, "result.json", lambda result: result.update(collection="/far/else", collection_fingerprint="1"))
        change(path, "config.yaml", lambda config: config["data"].update(collection="/far/else"))
    found = read(sweep)
    assert found.sets == ["synthetic", "else"] or found.sets == ["else", "synthetic"]
    assert all(run.name == f"{run.own}: {run.label}" for run in found.runs)
    assert "Baseline" in page(found, absent)


def test_a_folder_without_finished_runs_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match=r"no folder .*nowhere; there are there"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="name: no finished run"):
        read(tmp_path / "there")


def test_points_are_bounded():
    assert _most([300] * 10) == 300
    sizes = [6980] * 20
    assert 0 < _most(sizes) * len(sizes) <= POINTS


def test_many_long_runs_are_a_page_of_a_few_megabytes(sweep):
    first = runs_of(sweep)[0]
    generator = np.random.default_rng(1)
    rows = [f"{step},{a},{b}" for step, (a, b) in enumerate(generator.random((9000, 2)))]
    text = "\n".join(["step,train/loss,dev/ndcg@10", *rows, ""])
    for number in range(8):
        copy = sweep / f"copy{number:02}"
        shutil.copytree(first, copy, ignore=shutil.ignore_patterns("model", "checkpoints"))
        for file in copy.glob("metrics/*/metrics.csv"):
            file.write_text(text)
        change(copy, "config.yaml", lambda c, n=number: c.update(seed=n % 3 + 10, optim={**c["optim"], "lr": n // 3}))
    made = page(read(sweep), absent)
    assert "copy07" in made
    assert len(made.encode()) < 4e6  # of which Bokeh takes two
