"""``limbeck evaluate``: students, run files and presets; comparisons of what is finished."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from limbeck.config import home
from limbeck.evaluation.per_query import read_per_query
from limbeck.evaluation.runs import read_run
from limbeck.reporting.results.finished import gathered, members

METRICS = ["ndcg@10", "mrr@10", "recall@100"]


@pytest.fixture(scope="module")
def finished(two_losses):
    return two_losses / "s"


@pytest.fixture
def evaluate(limbeck, cache, tmp_path):
    """Call the command; returns its result folder's content and what was printed."""

    def call(*words, status=0):
        done, out, err = limbeck("evaluate", *words, f"paths.cache={cache}", small=False)
        assert done == status, err
        folders = sorted((tmp_path / "runs" / "evaluate").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return (folders[-1] if folders else None), out, err

    return call


def told(folder, name="result.json"):
    return json.loads((folder / name).read_text())


def run_of(finished, loss, seed):
    import yaml

    for path in finished.glob("*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        if list(config["loss"]) == [loss] and config["seed"] == seed:
            return path.parent
    raise AssertionError


def test_a_run_is_evaluated_anew_to_its_own_figures(finished, evaluate):
    run = run_of(finished, "kl", 1)
    folder, _, err = evaluate(f"run={run}")
    (group,) = told(folder)["sets"].values()
    rows = {row["key"]: row for row in group["rows"]}
    trained = {row["key"]: row for row in told(run)["rows"]}
    key = next(key for key in rows if key != "first_stage")
    for metric in METRICS:
        assert rows[key][metric] == pytest.approx(trained["student"][metric], abs=1e-9)
        assert rows["first_stage"][metric] == trained["first_stage"][metric]
    ours = next((folder / "runs").glob(f"*.{key}.trec"))
    assert read_run(ours).keys() == read_run(run / "runs" / "test.student.trec").keys()
    assert (folder / "config.yaml").exists()
    assert json.loads((folder / "env.json").read_text())["command"][1] == "evaluate"
    again, _, err = evaluate(f"run={run}")
    assert again == folder
    assert "is finished" in err


def test_a_checkpoint_is_evaluated(finished, evaluate):
    run = run_of(finished, "ckl", 2)
    folder, _, _ = evaluate(
        f"run={run}/checkpoints/{told(run)['training']['checkpoint']}",
        "eval=folder",
        f"eval.sets.folder.collection={world(finished)}",
    )
    (key,) = (name for name in told(folder)["systems"] if name != "first_stage")
    row = next(row for row in told(folder)["sets"]["folder"]["rows"] if row["key"] == key)
    trained = next(row for row in told(run)["rows"] if row["key"] == "student")
    assert row["ndcg@10"] == pytest.approx(trained["ndcg@10"], abs=1e-9)


def world(finished):
    """The BEIR folder of the synthetic world."""
    import yaml

    from limbeck.artefacts import Artefacts
    from limbeck.data.opening import described

    config = yaml.safe_load(next(finished.glob("*/config.yaml")).read_text())
    cache = config["paths"]["cache"]
    from pathlib import Path

    return described(config["data"]).open(Artefacts(Path(cache))).folder


def test_a_run_file_with_judgments(finished, evaluate, tmp_path):
    import ir_measures
    from ir_measures import nDCG

    qrels = world(finished) / "qrels" / "test.tsv"
    files = [run_of(finished, loss, 1) / "runs" / "test.student.trec" for loss in ("kl", "ckl")]
    words = f"run_file={{a: {files[0]}, b: {files[1]}}}", f"qrels={qrels}", "metrics=[ndcg@10,map]", "baseline=a"
    folder, out, _ = evaluate(*words)
    rows = {row["key"]: row for row in told(folder)["sets"]["qrels"]["rows"]}
    lines = [line.split("\t") for line in qrels.read_text().splitlines()[1:]]
    judged = [ir_measures.Qrel(query, document, int(grade)) for query, document, grade in lines]
    for key, file in zip("ab", files, strict=True):
        assert list(rows[key])[-2:] == ["ndcg@10", "map"]
        scored = list(ir_measures.read_trec_run(str(file)))
        assert rows[key]["ndcg@10"] == pytest.approx(ir_measures.calc_aggregate([nDCG @ 10], judged, scored)[nDCG @ 10])
    compared = told(folder, "comparison.json")["comparisons"]
    assert [(row["system"], row["metric"], row["family"]) for row in compared] == [("b", "ndcg@10", 2), ("b", "map", 2)]
    assert "Holm" in out
    assert not list((folder / "runs").glob("*")) if (folder / "runs").exists() else True  # the files are the record


def test_runs_are_compared_over_seeds_by_teacher_with_texts(finished, evaluate):
    """What is tested are the per-query means over seeds; figures and texts lie beside."""
    from scipy.stats import ttest_rel

    folder, out, _ = evaluate(f"compare={finished}", f"baseline={run_of(finished, 'kl', 2)}", "moved=2")
    compared = told(folder, "comparison.json")
    assert compared["baseline"] == "kl"
    means = {}
    for loss in ("kl", "ckl"):
        values = [
            read_per_query(run_of(finished, loss, seed) / "per_query" / "test.student.parquet", "ndcg@10")
            for seed in (1, 2)
        ]
        means[loss] = np.array([np.mean([each[query] for each in values]) for query in sorted(values[0])])
    row = next(row for row in compared["comparisons"] if row["metric"] == "ndcg@10")
    assert row["statistics"]["t_p"] == pytest.approx(ttest_rel(means["ckl"], means["kl"]).pvalue)
    assert row["statistics"]["seeds"] == [2, 2] or row["statistics"]["seeds"] == {"baseline": 2, "system": 2}
    buckets = compared["by_teacher"]["synthetic"]
    assert buckets["quality"] == "mrr@10"
    assert sum(bucket["queries"] for bucket in buckets["buckets"]["ckl"]) == 20
    assert {path.name for path in (folder / "figures").iterdir()} == {
        *(f"synthetic.{kind}.png" for kind in ("gains", "by_teacher", "against_teacher")),
        *(f"synthetic.{kind}.pdf" for kind in ("gains", "by_teacher", "against_teacher")),
    }  # fmt: skip
    queries = told(folder, "moved.json")["synthetic"]["ckl"]["queries"]
    assert 0 < len(queries) <= 4
    assert all(query["text"] and query["system_top"][0]["text"] for query in queries)
    assert "by the teacher's own mrr@10" in out


def test_an_evaluation_is_compared_system_by_system(finished, evaluate, tmp_path):
    words = f"run=[{run_of(finished, 'kl', 1)},{run_of(finished, 'kl', 2)},{run_of(finished, 'ckl', 1)}]"
    first, _, _ = evaluate(words, "eval.metrics=[ndcg@10]")
    assert set(told(first)["systems"]) == {"first_stage", "kl_seed-1", "kl_seed-2", "ckl"}
    one_by_one = members([f"{first}/kl_seed-1", f"{first}/first_stage"], key="compare", root=tmp_path)
    assert [each.name for each in one_by_one] == ["kl", "BM25 (k1=0.9, b=0.4)"]
    folder, _, _ = evaluate(f"compare={first}", "baseline=first_stage")
    compared = told(folder, "comparison.json")
    assert compared["baseline"] == "BM25 (k1=0.9, b=0.4)"
    assert [row["system"] for row in compared["comparisons"]] == ["kl", "ckl"]


def test_students_are_held_against_their_teacher(finished, evaluate):
    runs = f"run=[{run_of(finished, 'kl', 1)},{run_of(finished, 'ckl', 1)}]"
    folder, out, _ = evaluate(runs, "calibration=10", "eval.metrics=[ndcg@10]")
    table = pq.read_table(folder / "calibration.parquet").to_pandas()
    assert len(table) == 2 * 2 * 10
    assert set(table["split"]) == {"train", "test"}
    np.testing.assert_allclose(table["kl"], table["kl_positives"] + table["kl_negatives"])
    assert (table["kl"] >= 0).all()
    assert {each["subset"] for each in told(folder, "calibration.json")} >= {"all"}
    assert (folder / "figures" / "calibration.png").stat().st_size > 10_000
    assert "on positives" in out


@pytest.fixture(scope="module")
def few(finished, tmp_path_factory):
    """The BEIR folder of five queries of the synthetic world, and of forty documents beside those judged for them."""
    whole, folder = world(finished), tmp_path_factory.mktemp("few")
    (folder / "qrels").mkdir()
    head, *lines = (whole / "qrels" / "test.tsv").read_text().splitlines(keepends=True)
    queries = [*dict.fromkeys(line.split("\t")[0] for line in lines)][:5]
    judged = [line for line in lines if line.split("\t")[0] in queries]
    (folder / "qrels" / "test.tsv").write_text("".join([head, *judged]))
    shutil.copy(whole / "queries.jsonl", folder)
    named = {line.split("\t")[1] for line in judged}
    documents = enumerate((whole / "corpus.jsonl").read_text().splitlines(keepends=True))
    kept = [line for number, line in documents if number < 40 or json.loads(line)["_id"] in named]
    (folder / "corpus.jsonl").write_text("".join(kept))
    return folder


@pytest.fixture
def stand_ins(few):
    """Overrides that put a small folder in the place of every set of a preset."""

    def call(*names):
        return [f"eval.sets.{name}.collection={few}" for name in names]

    return call


def test_a_set_that_cannot_be_had_is_told_and_the_others_go_on(finished, evaluate, stand_ins):
    run = run_of(finished, "kl", 1)
    words = ["eval=beir_13", *[f"~eval.sets.{name}" for name in BEIR[3:]], *stand_ins(*BEIR[:2])]
    lacking = f"eval.sets.{BEIR[2]}.collection=/no/such/folder"
    folder, out, err = evaluate(f"run={run}", *words, lacking, status=2)
    sets = told(folder)["sets"]
    assert "neither an existing folder nor an ir_datasets id" in sets[BEIR[2]]["missing"]
    assert [name for name in sets if "missing" not in sets[name]] == BEIR[:2]
    assert told(folder)["average"] is None
    assert "macro average" not in out
    assert f"no average: {BEIR[2]} missing" in err
    assert "1 of 3 sets are missing" in err
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}
    again, _, _ = evaluate(f"run={run}", *words, lacking, status=2)  # tries the missing one again, and only that
    assert again == folder
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()} == before
    whole, out, _ = evaluate(f"run={run}", *words, *stand_ins(BEIR[2]))
    (average,) = (row for row in told(whole)["average"] if row["key"] != "first_stage")
    values = [
        row["ndcg@10"] for each in told(whole)["sets"].values() for row in each["rows"] if row["key"] == average["key"]
    ]
    assert average["ndcg@10"] == pytest.approx(np.mean(values))
    assert average["sets"] == 3
    assert "macro average over 3 sets" in out


BEIR = ["nfcorpus", "scifact", "fiqa", "trec_covid", "nq", "hotpotqa", "arguana", "webis_touche2020", "dbpedia_entity",
        "scidocs", "fever", "climate_fever", "quora"]  # fmt: skip


def test_queries_that_are_documents_are_dropped_from_all_rankings(evaluate, finished, tmp_path):
    """As in ArguAna: of first stage, student and run file alike, before the cut."""
    folder = tmp_path / "own"
    shutil.copytree(world(finished), folder)
    lines = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = [{"_id": each["_id"], "text": each["text"]} for each in lines[:5]]
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    judged = [f"{lines[i]['_id']}\t{lines[i + 5]['_id']}\t1\n" for i in range(5)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    run = run_of(finished, "kl", 1)
    words = ["eval=folder", f"eval.sets.folder.collection={folder}", "eval.search_depth=7", "eval.depth=7"]
    for drops in ("false", "true"):
        found, _, err = evaluate(f"run={run}", *words, f"eval.sets.folder.drop_self={drops}", "force=true")
        for path in (found / "runs").iterdir():
            own = [query for query, ranking in read_run(path).items() if query in ranking.ids]
            assert bool(own) == (drops == "false"), path
            if "first_stage" not in path.name:
                assert {len(ranking.ids) for ranking in read_run(path).values()} == {7}
        assert ("data.drop_self=true" in err) == (drops == "false")
    file = tmp_path / "given.trec"
    query, relevant = judged[0].split("\t")[:2]
    file.write_text(f"{query} Q0 {query} 1 9 x\n{query} Q0 {relevant} 2 8 x\n")
    found, _, _ = evaluate(f"run_file={file}", *words, "eval.sets.folder.drop_self=true", "metrics=[mrr]")
    (row,) = told(found)["sets"]["folder"]["rows"]
    assert (row["mrr"], row["ranked"], row["queries"]) == (1 / 5, 1, 5)


def test_a_trained_student_is_evaluated_on_sets(limbeck, finished, tmp_path):
    words = ["eval=folder", f"eval.sets.folder.collection={world(finished)}", "eval.start=false", "name=sets"]
    words += ["eval.teacher=false", "trainer.steps=2", "trainer.validate_every=0"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    (run,) = (path.parent for path in (tmp_path / "runs" / "sets").glob("*/result.json"))
    (row,) = (row for row in told(run)["sets"]["folder"]["rows"] if row["key"] == "student")
    own = next(row for row in told(run)["rows"] if row["key"] == "student")
    assert row["ndcg@10"] == own["ndcg@10"]
    assert list(gathered(members([run, finished], key="compare", root=tmp_path), None)) == ["synthetic"]  # in all


def test_a_training_whose_sets_are_missing_is_not_finished(limbeck, finished, tmp_path):
    place = tmp_path / "later"
    words = ["eval=folder", f"eval.sets.folder.collection={place}", "eval.start=false", "name=later"]
    words += ["eval.teacher=false", "trainer.steps=2", "trainer.validate_every=0"]
    status, out, err = limbeck("train", *words)
    assert status == 2
    assert "1 of 1 sets are missing" in err
    assert "student, distilled" in out  # nothing that was computed is lost
    (trained,) = (tmp_path / "runs" / "later").glob("*/trained.json")
    before = trained.stat().st_mtime_ns
    shutil.copytree(world(finished), place)
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert trained.stat().st_mtime_ns == before
    assert "rows" in told(trained.parent)["sets"]["folder"]
    assert "is finished" in limbeck("train", *words)[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to evaluate: give run=FOLDER"),
        (["run=nowhere", "eval=folder", "eval.sets.folder.collection=x"], "run: there is no folder"),
        (["run=."], "holds neither a run, nor finished runs, nor a model"),
        (["run_file=nowhere.trec", "qrels=q"], "run_file: there is no file 'nowhere.trec'"),
        (["run_file=empty.trec"], "run_file needs judgments"),
        (["run_file=empty.trec", "qrels=nowhere.tsv"], "nowhere.tsv"),
        (["run_file=empty.trec", "qrels=good.tsv"], "ranks none of the queries of good.tsv"),
        (["run_file=bad.trec", "qrels=good.tsv"], "bad.trec:2"),
        (["run_file=good.trec", "qrels=bad.tsv"], "bad.tsv:2"),
        (["run_file=good.trec", "qrels=good.tsv", "metrics=[ndgc@10]"], "metrics has 'ndgc@10'"),
        (["run_file=good.trec", "qrels=good.tsv", "baseline=other"], "baseline: 'other' is none of the systems: good"),
        (["run_file=[good.trec,./good.trec]", "qrels=good.tsv"], "two systems are called good"),
        (["run_file=nan.trec", "qrels=good.tsv"], "nan.trec:1"),
        (["qrels=good.tsv", "eval=folder", "eval.sets.folder.collection=x"], "qrels are for run_file=FILE"),
        (["compare=[a,b]"], "baseline must be given"),
        (["compare=nowhere", "baseline=x"], "compare: there is no folder"),
        (["compare=[a]", "run=b", "baseline=a"], "compare only reads what is finished"),
        (["eval=folder"], "eval.sets.folder.collection must be given"),
        (["eval=folder", "eval.sets.folder.collection=x", "eval.sets.folder.metrics=[no]"], "eval.sets.folder.metrics"),
        (["eval=folder", "eval.sets.folder.colection=x"], "eval.sets.folder.colection is no key"),
        (["comparison.level=2", "run_file=good.trec", "qrels=good.tsv"], "comparison.level must lie between 0 and 1"),
        (["moved=-1", "run_file=good.trec", "qrels=good.tsv"], "moved must be >= 0"),
        (["+nothing=1", "run_file=good.trec"], "nothing is no key of the configuration"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_in_one_message(words, message, limbeck, tmp_path):
    (tmp_path / "good.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    (tmp_path / "bad.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\tmuch\n")
    (tmp_path / "good.trec").write_text("q Q0 d 1 2.5 x\n")
    (tmp_path / "bad.trec").write_text("q Q0 d 1 2.5 x\nq Q0 d 2\n")
    (tmp_path / "nan.trec").write_text("q Q0 d 1 nan x\n")
    (tmp_path / "empty.trec").write_text("other Q0 d 1 2.5 x\n")
    status, _, err = limbeck("evaluate", *words, small=False)
    assert status == 2, err
    assert message in err
    assert "Traceback" not in err


PRESETS = {path.stem for path in (home() / "conf" / "eval").glob("*.yaml")}
PRESETS -= {"default", "trec_dl_2019", "trec_dl_2020"}  # of trec_dl, which has the sets of both years


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_runs_on_stand_ins(preset, finished, evaluate, stand_ins):
    """A small folder in the place of three of its collections: a student is re-ranked, searched and averaged on all.

    Each set of each preset is built in ``evaluation/test_sets.py``.
    """
    import yaml

    defaults = yaml.safe_load((home() / "conf" / "eval" / f"{preset}.yaml").read_text())["defaults"]
    names = [next(iter(each)).split("@sets.")[-1] for each in defaults if isinstance(each, dict)]
    left_out, names = [f"~eval.sets.{name}" for name in names[3:]], names[:3]
    elsewhere = [f"eval.sets.{name}.split=test" for name in names] if preset != "folder" else []
    elsewhere += left_out
    words = [f"eval={preset}", *stand_ins(*names), *elsewhere, "eval.pipeline=[search,rerank]"]
    folder, out, err = evaluate(f"run={run_of(finished, 'kl', 1)}", *words)
    sets = told(folder)["sets"]
    assert list(sets) == names
    for name in names:
        assert f"\n{name}" in err  # the list of sets comes first
        keys = [row["key"] for row in sets[name]["rows"]]
        assert keys == ["first_stage", f"{keys[-1]}.search", keys[-1]]
        assert (folder / "runs" / f"{name}.{keys[-1]}.trec").is_file()
        assert all(0 <= row[metric] <= 1 for row in sets[name]["rows"] for metric in sets[name]["metrics"])
    assert ("macro average" in out) == (len(names) > 1)
    assert ("are declared: another version" in err) == (
        preset != "folder"
    )  # stand-ins are smaller than what they stand for


def test_a_collection_that_cannot_be_downloaded_says_what_was_not_reached():
    from limbeck.data.splits import _reason

    error = RuntimeError("('All sources failed', [(X, E('HTTPSConnectionPool(host=\\'a.org\\', port=443): no'))])")
    assert _reason(error) == "no connection to a.org"
    assert _reason(OSError("disk full\nmore")) == "OSError: disk full"
