"""From folders of runs to a table: rows, columns, means, marks, references, commands, and what is refused."""

import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time

import pytest
import yaml

from limbeck.config import ConfigError, home
from limbeck.evaluation.comparison import Comparing
from limbeck.evaluation.per_query import read_per_query
from limbeck.evaluation.significance import holm, paired
from limbeck.reporting.results.cells import Column
from limbeck.reporting.results.commands import command
from limbeck.reporting.results.markdown import markdown
from limbeck.reporting.results.spec import read_spec


def row(made, *labels):
    return next(each for each in made.rows if tuple(value.text for value in each.line.values) == labels)


def own(path, metric="ndcg@10"):
    told = json.loads((path / "result.json").read_text())
    return next(each for each in told["rows"] if each["key"] == "student")[metric]


def test_a_cell_is_the_mean_and_the_sample_deviation_over_seeds(runs, table):
    paths = [runs.add(seed=seed) for seed in (1, 2, 3)]
    made = table()
    assert made.columns == [Column("alpha", "ndcg@10"), Column("alpha", "mrr@10")]
    (only,) = made.rows
    values = [own(path) for path in paths]
    mean = sum(values) / 3
    assert only.cells[0].mean == pytest.approx(mean, abs=1e-12)
    assert only.cells[0].std == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5, abs=1e-12)
    assert (only.cells[0].seeds, made.seeds) == (3, 3)


def test_the_best_of_a_column_as_shown_among_students_alone(runs, table):
    runs.add(loss="kl", level=0.5)
    runs.add(loss="ckl", level=0.5002)  # reads the same in three digits
    runs.add(loss="bkl", level=0.4)
    made = table(also=["teacher"], published=[{"system": "P", "source": "S", "values": {"alpha": {"ndcg@10": 0.9}}}])
    best = {each.labels[0]: each.cells[0].best for each in made.rows}
    assert best == {"KL": True, "CKL": True, "BKL": False}
    assert made.references[0].cells[0].mean == 0.7
    assert not made.references[0].cells[0].best
    assert {each.labels[0]: each.cells[0].best for each in table(digits=4).rows} == {
        "KL": False, "CKL": True, "BKL": False,
    }  # fmt: skip


def test_rows_of_one_name_are_told_apart_by_their_options(runs, table):
    for in_batch in (True, False):
        runs.add(loss="kl+info_nce", options={"info_nce": {"in_batch": in_batch}})
    for gamma in (2.0, 5.0):
        runs.add(loss="ckl", options={"ckl": {"gamma": gamma}})
    made = table(labels={"loss": {"ckl": "ours", "kl+info_nce (in_batch)": "KL over the batch"}})
    labels = {each.labels[0] for each in made.rows}
    assert labels == {"KL over the batch", "KL + InfoNCE", "ours (γ=2)", "ours (γ=5)"}
    made = table(rows=["loss", "loss.ckl.gamma"])
    assert ("CKL", "5") in {each.labels for each in made.rows}  # another column shows it already
    assert ("KL + InfoNCE", "–") in {each.labels for each in made.rows}


def test_students_by_the_name_they_are_registered_by(runs, table):
    runs.add(student="dense")
    runs.add(student="cross_encoder")
    assert [each.labels for each in table(rows=["student"]).rows] == [("dense",), ("cross-encoder",)]


def test_rows_stand_as_expected_then_by_number(runs, table):
    for gamma in (9.0, 5.0, 10.0):
        runs.add(loss="ckl", options={"ckl": {"gamma": gamma}})
    assert [each.labels[0] for each in table(rows=["loss.ckl.gamma"]).rows] == ["5", "9", "10"]
    made = table(rows=["loss.ckl.gamma"], order={"loss.ckl.gamma": [10, 9]})
    assert [each.labels[0] for each in made.rows] == ["10", "9", "5"]


def test_what_is_missing_is_there(runs, table):
    for seed in (1, 2, 3):
        runs.add(seed=seed)
        runs.add(seed=seed, collection="/data/beta", content="bbbb")
    for seed in (1, 2):
        runs.add(loss="ckl", seed=seed)
    made = table(expect={"loss": ["kl", "ckl", "bkl"]}, columns={"alpha": ["ndcg@10"], "beta": ["ndcg@10"]})
    assert [each.labels[0] for each in made.rows] == ["KL", "CKL", "BKL"]
    assert [[cell and cell.seeds for cell in each.cells] for each in made.rows] == [[3, 3], [2, None], [None, None]]
    text = markdown(made)
    assert text.count("*missing*") == 4  # three cells, and the commands of the row
    assert "(n=2 of 3)" in text
    assert "1 of 6 cells have fewer seeds (n). 3 of 6 cells have no finished run (missing)." in text


def test_a_set_that_no_run_has(runs, table):
    runs.add()
    with pytest.raises(ConfigError, match=r"table.columns has 'beta', on which no run was evaluated; they have alpha"):
        table(columns={"beta": ["ndcg@10"]})
    made = table(columns={"alpha": ["ndcg@10"], "beta": None}, partial=True)
    assert [column.set for column in made.columns] == ["alpha", "beta", "beta"]
    assert made.rows[0].cells[1:] == [None, None]


def test_sets_beside_the_own_collection(runs, table):
    runs.add(sets={"gamma": 0.4, "delta": None})
    made = table()
    assert [column.set for column in made.columns] == ["alpha", "alpha", "gamma", "gamma"]
    assert made.rows[0].cells[2].mean == pytest.approx(0.39, abs=1e-9)
    assert "delta could not be evaluated by some runs: no such folder." in made.notes


# -- marks -------------------------------------------------------------------------------------------------------


def test_marks_are_those_of_the_corrected_test(runs, table):
    paths = {
        (student, loss): [runs.add(student=student, loss=loss, seed=seed, level=level + more) for seed in (1, 2)]
        for student, more in (("dense", 0), ("splade", 0.1))
        for loss, level in (("kl", 0.5), ("ckl", 0.52), ("bkl", 0.5001), ("l1", 0.45))
    }
    made = table(rows=["student", "loss"], baseline={"loss": "kl"}, columns={"alpha": ["ndcg@10"]})
    values = {
        key: [read_per_query(path / "per_query" / "test.student.parquet", "ndcg@10") for path in each]
        for key, each in paths.items()
    }
    compared = [key for key in values if key[1] != "kl"]
    tested = [paired(values[student, "kl"], values[student, loss], resamples=2) for student, loss in compared]
    for key, each, p in zip(compared, tested, holm([each.t_p for each in tested]), strict=True):
        expected = ("▲" if each.difference > 0 else "▼") if p < 0.05 else ""
        assert row(made, *key).cells[0].mark == expected
    assert [row(made, "dense", loss).cells[0].mark for loss in ("kl", "ckl", "bkl", "l1")] == ["", "▲", "", "▼"]
    (told,) = made.remarks
    assert "KL of the same Student (paired t-test over queries" in told
    assert "p < 0.05, family of 6 comparisons" in told


def test_the_test_and_its_level_are_those_asked_for(runs, table):
    for loss, level in (("kl", 0.5), ("ckl", 0.51)):
        runs.add(loss=loss, level=level)
    made = table(baseline={"loss": "kl"}, comparison={"test": "randomisation", "level": 1e-5, "resamples": 500})
    assert row(made, "ckl").cells[0].mark == ""  # no p is below 1/501
    assert "randomisation test, 500 resamples over queries" in made.remarks[0]
    assert "p < 1e-05" in made.remarks[0]


def test_marks_against_the_first_stage_or_the_teacher(runs, table):
    for loss, level in (("kl", 0.3), ("ckl", 0.5), ("bkl", 0.2)):
        for seed in (1, 2):
            runs.add(loss=loss, level=level, seed=seed, teacher=0.5)
    made = table(baseline="first_stage", columns={"alpha": ["ndcg@10"]})
    assert [row(made, loss).cells[0].mark for loss in ("kl", "ckl", "bkl")] == ["", "▲", "▼"]
    assert made.remarks[0].startswith("▲, ▼: above, below the first stage (paired t-test over queries")
    assert "family of 3 comparisons" in made.remarks[0]
    made = table(baseline="teacher", columns={"alpha": ["ndcg@10"]})
    assert [row(made, loss).cells[0].mark for loss in ("kl", "ckl", "bkl")] == ["▼", "", "▼"]


def test_a_baseline_that_is_no_row(runs, table):
    runs.add(loss="ckl")
    with pytest.raises(ConfigError, match=r"table.baseline: no row has loss: kl; there are ckl"):
        table(baseline={"loss": "kl"})
    with pytest.raises(ConfigError, match=r"no finished run is the baseline"):
        table(baseline={"loss": "kl"}, expect={"loss": ["kl"]})


def test_different_queries_are_no_comparison(runs, table):
    runs.add()
    path = runs.add(loss="ckl") / "per_query" / "test.student.parquet"
    from limbeck.evaluation.per_query import write_per_query

    write_per_query(path, {"ndcg@10": {"other": 0.5}, "mrr@10": {"other": 0.5}})
    with pytest.raises(ConfigError, match=r"alpha, ndcg@10, CKL beside the baseline: query 'other'"):
        table(baseline={"loss": "kl"})
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"test.student.parquet: values of ndcg@10 cannot be read"):
        table(baseline={"loss": "kl"})


# -- references and published --------------------------------------------------------------------------------------


def test_first_stage_and_teacher_once_each(runs, table):
    for seed in (1, 2):
        for loss in ("kl", "ckl"):
            runs.add(loss=loss, seed=seed)
    made = table(also=["first_stage", "teacher"])
    assert [(each.label, each.cells[0].mean) for each in made.references] == [
        ("BM25 (k1=0.9, b=0.4)", 0.3),
        ("Teacher", 0.7),
    ]


def test_two_teachers_are_two_rows(runs, table):
    runs.add(loss="kl", extra={"teacher": {"_target_": "teacher/ranker", "bf16": True}})
    runs.add(loss="ckl", teacher=0.8, extra={"teacher": {"_target_": "teacher/ranker"}})
    made = table(also=["teacher"])
    assert {each.label: each.cells[0].mean for each in made.references} == {"Teacher (bf16)": 0.7, "Teacher": 0.8}


def test_published_figures_stand_apart(runs, table):
    runs.add()
    made = table(
        published=[{"system": "SPLADE", "source": "Author, 2024, Table 2", "values": {"alpha": {"ndcg@10": 0.9}}}]
    )
    text = markdown(made)
    before, after = text.split("\n---\n")
    assert "0.900" not in before
    assert "Published by others, not our results:" in after
    assert "| SPLADE | Author, 2024, Table 2 | 0.900 | – |" in after


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"system": "S", "values": {}}], r"table.published\[0\] must have just the keys source, system, values"),
        ([{"system": "S", "source": "", "values": {}}], r"table.published\[0\].source must be text"),
        ([{"system": "S", "source": "x", "values": {"alpha": {"ndcg@10": 40.2}}}], r"between 0 and 1, got 40.2"),
        ([{"system": "S", "source": "x", "values": {"beta": {"ndcg@10": 0.4}}}], r"values.beta.ndcg@10 is no column"),
    ],
)
def test_published_figures_that_cannot_be(runs, table, given, message):
    runs.add()
    with pytest.raises(ConfigError, match=message):
        table(published=given)


# -- what must not be mixed ----------------------------------------------------------------------------------------


def test_commits_are_not_mixed(runs, table):
    runs.add(seed=1)
    other = runs.add(seed=2, commit="beef000000000000")
    with pytest.raises(ConfigError, match=r"2 states of the code; mix_commits=true") as caught:
        table()
    assert f"commit beef00000000: 1 run: sweep/{other.name}" in str(caught.value)
    assert "1 of commit c0ffee000000, 1 of commit beef00000000" in table(mix_commits=True).notes[0]


def test_uncommitted_changes_are_another_state(runs, table):
    runs.add(seed=1)
    runs.add(seed=2, changed=True)
    with pytest.raises(ConfigError, match=r"commit c0ffee000000 with uncommitted changes: 1 run"):
        table()


def test_contents_of_a_set_are_not_mixed(runs, table):
    runs.add(seed=1)
    other = runs.add(seed=2, content="bbbb", loss="ckl")
    with pytest.raises(ConfigError, match=r"alpha had 2 different contents; mix_data=true") as caught:
        table()
    assert f"fingerprint bbbb: 1 run: sweep/{other.name}" in str(caught.value)
    assert len(table(mix_data=True).rows) == 2


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(runs, table):
    runs.add(seed=1)
    runs.add(seed=2, student_options={"scale": 10.0})
    with pytest.raises(ConfigError, match=r"on alpha, the row KL would average runs .* student.scale. Add one"):
        table()
    assert len(table(rows=["loss", "student.scale"]).rows) == 2


def test_a_run_in_two_folders_counts_once(runs, table):
    runs.add(seed=1)
    runs.add("again", seed=1, collection="/elsewhere/alpha")  # the same content
    made = table(runs=["sweep", "again"])
    assert made.rows[0].cells[0].seeds == 1
    assert "1 runs are in several folders; each is counted once." in made.notes


def test_unfinished_and_failed_runs_are_told(runs, table):
    runs.add(seed=1)
    for seed, error in ((2, False), (3, True)):
        path = runs.add(seed=seed)
        (path / "result.json").unlink()
        if error:
            (path / "error.txt").write_text("out of memory")
    made = table()
    assert made.rows[0].cells[0].seeds == 1
    assert "Left out, failed: 1 run: sweep/00000003." in made.notes
    assert "Left out, unfinished: 1 run: sweep/00000002." in made.notes


# -- commands ------------------------------------------------------------------------------------------------------


def test_one_command_makes_a_row(runs, table):
    for seed in (3, 1, 2):
        for name in ("alpha", "beta") if seed == 3 else ("beta", "alpha"):
            runs.add(loss="kl+info_nce", seed=seed, collection=f"/my data/{name}", content=name)
    (only,) = table(columns={"alpha": None}).rows
    assert only.commands == [
        "limbeck train -m 'data.collection=/my data/alpha,/my data/beta' 'loss=[kl,info_nce]' seed=1,2,3"
    ]


def test_no_more_than_the_runs_of_a_row(runs, table):
    for seed, name in ((1, "alpha"), (2, "alpha"), (1, "beta")):
        runs.add(seed=seed, collection=name, content=name, overrides=["sweeps=s"])
    (only,) = table(columns={"alpha": None}).rows
    assert only.commands == [
        "limbeck train sweeps=s data.collection=alpha 'loss=[kl]' seed=1,2",
        "limbeck train sweeps=s data.collection=beta 'loss=[kl]' seed=1",
    ] or only.commands == [
        "limbeck train sweeps=s data.collection=alpha,beta 'loss=[kl]' seed=1",
        "limbeck train sweeps=s data.collection=alpha 'loss=[kl]' seed=2",
    ]


def test_commands_keep_where_configurations_are_read_from(runs, table):
    typed = {1: ["-m", "--config-dir", "my dir", "seed=1,2"], 2: ["--config-dir=my dir"], 3: ["-cd", "other"], 4: []}
    for seed, words in typed.items():
        path = runs.add(seed=seed)
        env = json.loads((path / "env.json").read_text())
        (path / "env.json").write_text(json.dumps(env | {"command": ["limbeck", "train", *words, "a=b"]}))
    (only,) = table(columns={"alpha": None}).rows
    rest = "data.collection=/data/alpha 'loss=[kl]'"
    assert only.commands == [
        f"limbeck train -m --config-dir 'my dir' {rest} seed=1,2",
        f"limbeck train --config-dir other {rest} seed=3",
        f"limbeck train {rest} seed=4",
    ]
    assert command({"command": ["limbeck", "train", "--config-name", "x"], "overrides": ["a=[b c]", "d='e'"]}) == (
        "limbeck train --config-name x 'a=[b c]' 'd='\"'\"'e'\"'\"''"
    )


def test_a_command_runs_in_a_shell_as_it_is_shown(tmp_path):
    (tmp_path / "my dir" / "experiment").mkdir(parents=True)
    (tmp_path / "my dir" / "experiment" / "own.yaml").write_text("# @package _global_\nname: it's own\n")
    (tmp_path / "other" / "loss").mkdir(parents=True)
    (tmp_path / "other" / "loss" / "mine.yaml").write_text("defaults:\n- /schema/loss@mine: kl\n")
    env = {
        "command": ["limbeck", "train", "--config-dir=my dir", "hydra.searchpath=[file://other]", "-m", "seed=1,2"],
        "overrides": ["experiment=own", "loss=[mine,info_nce]", 'data.collection="$HOME/a, b"', "seed=1"],
    }
    shown = command(env)
    assert shown is not None
    script = f'limbeck() {{ {shlex.quote(sys.executable)} -m limbeck "$@"; }}; {shown} --cfg job'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert (config["name"], list(config["loss"]), config["seed"]) == ("it's own", ["mine", "info_nce"], 1)
    assert config["data"]["collection"] == "$HOME/a, b"


def test_runs_that_do_not_tell_their_overrides(runs, table):
    path = runs.add()
    env = json.loads((path / "env.json").read_text())
    del env["overrides"]
    (path / "env.json").write_text(json.dumps(env))
    made = table()
    assert (made.rows[0].commands, made.rows[0].untold) == ([], 1)
    assert "1 of these runs do not record their command" in markdown(made)


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"colums": {}}, r"table.colums is no key of a table; did you mean columns\?"),
        ({"caption": None}, r"table.caption must be given"),
        ({"rows": ["loss", "seed"]}, r"table.rows: values are averaged over seeds"),
        ({"rows": ["loss", "loss"]}, r"table.rows names something twice"),
        ({"rows": ["loss.kl.gamma"]}, r"table.rows: no run has the key 'loss.kl.gamma'"),
        ({"columns": {"alpha": ["ndcg@5"]}}, r"table.columns.alpha has 'ndcg@5', which no run computed there"),
        ({"also": ["bm25"]}, r"table.also has 'bm25'; it may have first_stage, teacher, start"),
        ({"baseline": {"student": "dense"}}, r"table.baseline has 'student', which is not in table.rows \(loss\)"),
        ({"seeds": 0}, r"table.seeds must be a whole number >= 1"),
        ({"runs": ["nowhere"]}, r"table.runs: there is neither .*nowhere nor nowhere; limbeck train sweeps=nowhere"),
    ],
)
def test_yaml_that_cannot_be_meant(runs, table, spec, message):
    runs.add()
    with pytest.raises(ConfigError, match=message):
        table(**spec)


def test_no_finished_run(runs, table):
    (runs.add() / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"table.runs: no finished run in sweep .* \(1 unfinished\)"):
        table()


@pytest.mark.parametrize(("file", "message"), [
    ("result.json", "cannot be read"), ("env.json", "cannot be read"), ("config.yaml", "cannot be read"),
])  # fmt: skip
def test_broken_files_are_named(runs, table, file, message):
    path = runs.add() / file
    path.write_text("{ no")
    with pytest.raises(ConfigError, match=message) as caught:
        table()
    assert str(path) in str(caught.value)
    path.write_text("{}")
    if file != "env.json":
        with pytest.raises(ConfigError, match=r"are not those of a run"):
            table()


def test_a_hundred_runs_take_little_more_than_reading_their_files(runs, table):
    first = runs.add()
    for number in range(1, 100):  # by copies: writing them is not what is measured
        path = first.with_name(f"copy{number}")
        shutil.copytree(first, path)
        gamma, seed = divmod(number, 3)
        text = (path / "config.yaml").read_text().replace("seed: 1", f"seed: {seed + 1}")
        text += "".join(f"more{key}: {{option: 1.0, other: text, list: [1, 2, 3]}}\n" for key in range(60))
        (path / "config.yaml").write_text(text.replace("weight: 1.0", f"weight: {gamma + 2}.0"))
    shutil.rmtree(first)
    start = time.process_time()
    for path in first.parent.glob("*/config.yaml"):
        yaml.load(path.read_text(), yaml.CSafeLoader)
    read = time.process_time()
    made = table(rows=["loss.kl.weight"], baseline={"loss.kl.weight": 2}, also=["first_stage", "teacher"])
    markdown(made)
    assert time.process_time() - read < 4 * (read - start)  # 1.7; the loader in Python alone is ten times as slow
    assert len(made.rows) == 34
    assert sum(cell.seeds for cell in made.cells()) == 2 * 99


@pytest.mark.parametrize("path", sorted((home() / "conf" / "table").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_table_is_one(path):
    spec = read_spec(yaml.safe_load(path.read_text()))
    for sweep in spec.runs:
        assert (home() / "sweeps" / f"{sweep}.yaml").is_file()


def test_deviation_agrees_with_another_implementation(runs, table):
    paths = [runs.add(seed=seed) for seed in (1, 2, 3)]
    cell = table().rows[0].cells[0]
    assert cell.std == pytest.approx(statistics.stdev(map(own, paths)))
    assert Comparing().level == 0.05
