"""``limbeck import`` as users call it."""

import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from limbeck.artefacts import Artefacts
from limbeck.config import entries, home
from limbeck.data.opening import Data, described
from limbeck.experiment.own_data import data_of
from limbeck.scores.store import ScoreStore

KD = "neural_ranking_kd"
FILE = "bert_cat_ensemble.tsv"


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "bert_cat_ensemble.tsv"
    lines = ["3.5\t-1\t7\t100\t200", "2.5\t0.5\t8\t101\t200", "3.5\t-2\t7\t100\t201"]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_an_ensemble_of_two_stores(limbeck, tmp_path):
    for name, scores in (("a", ["3", "1", "2"]), ("b", ["50", "10", "90"])):
        lines = [f"q Q0 d{rank} {rank} {score} {name}\n" for rank, score in enumerate(scores, 1)]
        (tmp_path / f"{name}.trec").write_text("".join(lines))
        words = ("format=trec_run", f"path={name}.trec", f"out={name}", "kind=logit")
        status, out, err = limbeck("import", *words, small=False)
        assert status == 0, err
    status, out, err = limbeck(
        "import", "format=score_stores", "path=[a,b]", "format.weights=[1,3]", "out=c", small=False
    )
    assert status == 0, err
    assert "ensemble of a and b (logit)" in out
    store = ScoreStore.open(tmp_path / "c")
    standard = [(np.array(each) - np.mean(each)) / np.std(each) for each in ([3, 1, 2], [50, 10, 90])]
    np.testing.assert_allclose(store.lookup("q", ["d1", "d2", "d3"]), (standard[0] + 3 * standard[1]) / 4, rtol=1e-5)
    assert [member["teacher"] for member in store.meta["members"]] == ["a", "b"]
    status, out, err = limbeck("import", "format=score_stores", "path=a", "out=d", small=False)
    assert status != 0
    assert "two score stores or more" in err


def test_a_file_becomes_a_store(limbeck, scores, tmp_path):
    words = ["import", f"format={KD}", f"path={scores}", "out=deep/store", "teacher.max_length=200"]
    status, out, err = limbeck(*words, small=False)
    assert status == 0, err
    store = ScoreStore.open(tmp_path / "deep" / "store")
    assert store.lookup("7", ["100", "200", "201", "9"]).tolist()[:3] == [3.5, -1.0, -2.0]
    assert store.meta["teacher"] == "neural-ranking-kd BERT-CAT ensemble"
    assert store.meta["kind"] == "logit"
    assert store.meta["max_length"] == "200"
    assert store.meta["format"] == KD
    assert store.meta["command"] == " ".join(["limbeck", *words])
    assert (store.meta["rows"], store.meta["merged"], store.meta["skipped"]) == (5, 1, 0)
    shown = dict(line.strip().split("  ", 1) for line in out.splitlines() if line.strip())
    shown = {name: value.strip() for name, value in shown.items()}
    assert shown["pairs"] == "5"
    assert shown["queries"] == "2"
    assert shown["documents per query"] == "2 / 2 / 3 (min / median / max)"
    assert shown["merged duplicates"] == "1"
    assert shown["skipped lines"] == "0"
    assert shown["store"] == "deep/store"
    assert shown["checksum"] == store.checksum
    assert "pairs/s" in shown["time"]


def test_several_files_and_patterns(limbeck, scores, tmp_path):
    (tmp_path / "more.bert_cat_ensemble.tsv").write_text("1\t2\t9\t100\t200\n")
    for path in (f"[{scores},more.bert_cat_ensemble.tsv]", "*.tsv"):
        status, _, err = limbeck("import", f"format={KD}", f"path={path}", "out=store", "force=true", small=False)
        assert status == 0, err
        assert set(ScoreStore.open(tmp_path / "store").query_ids()) == {"7", "8", "9"}


def test_what_is_known_of_the_teacher_is_kept(limbeck, scores, tmp_path, folder):
    words = ["teacher.name=mine", "kind=logit_difference", "teacher.revision=abc", "teacher.dtype=bf16"]
    words += ["collection=beir", "scale=0.5"]
    status, out, err = limbeck("import", f"format={KD}", f"path={scores}", "out=store", *words, small=False)
    assert status == 0, err
    meta = ScoreStore.open(tmp_path / "store").meta
    assert meta["scale"] == 0.5
    assert "mine (logit difference × 0.5)" in out
    opened = Data(collection=str(folder), dev=None).open(Artefacts(tmp_path / "cache"))
    assert meta["collection"] == opened.documents_fingerprint  # what training will compare it with
    own = data_of(tmp_path / "store")
    assert own is not None
    assert described(own).open(Artefacts(tmp_path / "cache")).texts_fingerprint == opened.texts_fingerprint
    assert [meta[key] for key in ("teacher", "kind", "revision", "dtype", "prompt")] == [
        "mine", "logit_difference", "abc", "bf16", None,
    ]  # fmt: skip


def test_malformed_lines_are_skipped_if_asked_to(limbeck, scores, tmp_path):
    scores.write_text(scores.read_text() + "nonsense\n" * 7 + "1\t2\t9\t100\t200\n")
    words = ["import", f"format={KD}", f"path={scores}", "out=store"]
    status, _, err = limbeck(*words, small=False)
    assert status == 2
    assert f"limbeck: {scores}:4: has 1 column separated by tabs\nit reads: 'nonsense'\nit should be: pos_score" in err
    assert not (tmp_path / "store" / "meta.json").exists()
    status, out, err = limbeck(*words, "on_error=skip", small=False)
    assert status == 0, err
    assert "7 malformed lines were left out; the first:" in err
    assert re.search(r"skipped lines +7\n", re.sub(" +\n", "\n", out))
    meta = ScoreStore.open(tmp_path / "store").meta
    assert meta["skipped"] == 7
    assert meta["skipped_first"][0] == f"{scores}:4: has 1 column separated by tabs"
    assert len(meta["skipped_first"]) == 5
    assert meta["queries"] == 3


def test_conflicting_scores(limbeck, scores, tmp_path):
    scores.write_text(scores.read_text() + "-4\t2\t7\t100\t300\n")
    words = ["import", f"format={KD}", f"path={scores}", "out=store"]
    status, _, err = limbeck(*words, small=False)
    assert status == 2
    assert "query '7', document '100' has different scores" in err
    status, _, err = limbeck(*words, "duplicates=first", small=False)
    assert status == 0, err
    assert ScoreStore.open(tmp_path / "store").lookup("7", ["100"]).tolist() == [3.5]


def test_a_finished_store_is_not_overwritten(limbeck, scores, tmp_path):
    words = ["import", f"format={KD}", f"path={scores}", "out=store"]
    assert limbeck(*words, small=False)[0] == 0
    before = ScoreStore.open(tmp_path / "store").checksum
    scores.write_text("1\t2\t9\t100\t200\n")
    status, _, err = limbeck(*words, small=False)
    assert (status, "store is a finished score store; force=true replaces it" in err) == (2, True)
    assert ScoreStore.open(tmp_path / "store").checksum == before
    assert limbeck(*words, "force=true", small=False)[0] == 0
    assert ScoreStore.open(tmp_path / "store").query_ids() == ["9"]


def test_qrels_of_an_earlier_import_do_not_stay(limbeck, scores, tmp_path):
    lists = tmp_path / "kd_train.jsonl"
    part = {"doc_id": ["1"], "score": [2.5]}
    lists.write_text(json.dumps({"query_id": "5", "positives": part, "negatives": {"doc_id": ["2"], "score": [1.0]}}))
    assert limbeck("import", "format=simlm", f"path={lists}", "out=store", small=False)[0] == 0
    assert (tmp_path / "store" / "qrels.tsv").read_text().endswith("5\t1\t1\n")
    assert limbeck("import", f"format={KD}", f"path={scores}", "out=store", "force=true", small=False)[0] == 0
    assert not (tmp_path / "store" / "qrels.tsv").exists()


def test_texts_bring_their_collection(limbeck, tmp_path):
    line = {"query": "cats?", "pos": ["cats purr"], "neg": ["dogs bark"], "pos_scores": [9], "neg_scores": [1]}
    (tmp_path / "lists.jsonl").write_text(json.dumps(line) + "\n")
    words = ["import", "format=flag_embedding", "path=lists.jsonl", "out=store", "teacher.name=bge"]
    status, out, err = limbeck(*words, small=False)
    assert status == 0, err
    assert "the kind of the scores is unknown: give kind=logit" in err
    assert "store.collection" in out
    opened = Data(collection=str(tmp_path / "store.collection"), dev=None, test=None).open(
        Artefacts(tmp_path / "cache")
    )
    meta = ScoreStore.open(tmp_path / "store").meta
    assert meta["collection"] == opened.documents_fingerprint
    assert (meta["kind"], meta["positives"]) == ("unknown", 1)
    (tmp_path / "store" / "meta.json").unlink()
    status, _, err = limbeck(*words, small=False)
    assert (status, "format.collection: store.collection exists; force=true replaces it" in err) == (2, True)


PUBLISHED = {
    "colbertv2.0_msmarco_64way/examples.json": ("colbert_64way", "MiniLM cross-encoder of ColBERTv2"),
    "kd_train.jsonl": ("simlm", "SimLM re-ranker"),
    "msmarco-hard-negatives.jsonl": ("sbert_hard_negatives", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
    "cross-encoder-ms-marco-MiniLM-L-6-v2-scores.pkl": ("sbert_ce_scores", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
    "msmarco-scores-ms-marco-MiniLM-L6-v2/a.parquet": ("sbert_ce_scores", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
    "bert_cat_ensemble_msmarcopassage_train_scores_ids.tsv": (KD, "neural-ranking-kd BERT-CAT ensemble"),
}
PART = {"doc_id": ["1"], "score": [2.5]}
CONTENT = {
    "colbert_64way": b"[1, [2, 0.25], [3, 0.75]]",
    "simlm": json.dumps({"query_id": "5", "positives": PART, "negatives": PART}).encode(),
    "sbert_hard_negatives": b'{"qid": 1, "pos": [{"pid": 2, "ce-score": 0.5}], "neg": {}}',
    "sbert_ce_scores": pickle.dumps({1: {2: 0.5}}),
    KD: b"1\t2\t9\t100\t200\n",
}


@pytest.mark.parametrize("path", PUBLISHED)
def test_only_the_published_file_is_its_teachers(path, limbeck, tmp_path):
    """The same layout by another name may be anybody's scores: the user says whose, and what they are."""
    name, teacher = PUBLISHED[path]
    (tmp_path / path).parent.mkdir(exist_ok=True)
    for file in (tmp_path / path, tmp_path / "foreign"):
        file.write_bytes(CONTENT[name])
        if path.endswith(".parquet"):
            pq.write_table(pa.table({"query_id": [1], "corpus_id": [2], "score": [0.5]}), file)
    words = ["import", f"format={name}"]
    assert limbeck(*words, f"path={path}", "out=a", small=False)[0] == 0
    meta = ScoreStore.open(tmp_path / "a").meta
    assert (meta["teacher"], meta["kind"]) == (teacher, "logit")
    for paths in ("path=foreign", f"path=[{path},foreign]"):
        status, _, err = limbeck(*words, paths, "out=b", small=False)
        assert status == 2
        assert "teacher.name must be given: neither the format nor the file names the teacher" in err
        assert f"; {teacher} would be recognised by " in err
    status, _, err = limbeck(*words, "path=foreign", "out=b", "teacher.name=mine", small=False)
    assert status == 0, err
    assert "the kind of the scores is unknown: give kind=logit" in err
    meta = ScoreStore.open(tmp_path / "b").meta
    assert (meta["teacher"], meta["kind"]) == ("mine", "unknown")


def test_flat_scores(limbeck, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"frage": "q", "document": "d", "score": 0.25}\n')
    words = ["import", "format=table", "path=a.jsonl", "out=store", "teacher.name=bge", "kind=logit"]
    status, _, err = limbeck(*words, small=False)
    assert status == 2
    assert "line 1 has the keys frage, document, score; give format.query=NAME format.document=NAME" in err
    status, out, err = limbeck(*words, "format.query=frage", small=False)
    assert status == 0, err
    assert "bge (logit)" in out
    assert ScoreStore.open(tmp_path / "store").lookup("q", ["d"]).tolist() == [0.25]


def test_a_sigmoid_is_no_logit(limbeck, tmp_path):
    lines = [f"q{i % 12}\td{i}\t{(i * 37 % 100 + 0.5) / 100}\n" for i in range(120)]
    (tmp_path / "a.tsv").write_text("".join(lines))
    words = ["import", "format=table", "path=a.tsv", "out=store", "teacher.name=bge"]
    status, _, err = limbeck(*words, "kind=logit", small=False)
    assert status == 2
    assert "the scores look like probabilities, as after a sigmoid: all 120 lie in [0.005, 0.995]" in err
    assert "set kind=probability" in err
    status, out, _ = limbeck(*words, small=False)
    assert status == 0
    assert "bge (unknown, and the values look like probability)" in out
    assert limbeck(*words, "kind=probability", "force=true", small=False)[0] == 0


def test_a_run_is_named_by_its_tag(limbeck, tmp_path):
    (tmp_path / "a.run").write_text("q Q0 d 1 0.5 splade\n")
    assert limbeck("import", "format=trec_run", "path=a.run", "out=store", "kind=similarity", small=False)[0] == 0
    meta = ScoreStore.open(tmp_path / "store").meta
    assert (meta["teacher"], meta["kind"], meta["has_ranks"], meta["score_type"]) == (
        "splade", "similarity", True, "float64",
    )  # fmt: skip


MISTAKES = {
    "no format": ([f"path={FILE}", "out=store"], "format must be given: format="),
    "unknown format": (
        ["format=neural_ranking"],
        "format=neural_ranking does not exist; did you mean neural_ranking_kd",
    ),
    "no path": ([f"format={KD}", "out=store"], "path must be given: path=…"),
    "no such file": ([f"format={KD}", "path=score.tsv", "out=store"], "path: there is no file score.tsv"),
    "no out": ([f"format={KD}", f"path={FILE}"], "out must be given: out=…"),
    "out is a file": (
        [f"format={KD}", f"path={FILE}", f"out={FILE}"],
        f"out: {FILE} is a file",
    ),
    "out holds other files": (
        [f"format={KD}", f"path={FILE}", "out=."],
        f"out: . holds other files ({FILE})",
    ),
    "misspelt key": (
        [f"format={KD}", f"path={FILE}", "out=store", "+knd=logit"],
        "knd is no key of the configuration",
    ),
    "no such kind": (
        [f"format={KD}", f"path={FILE}", "out=store", "kind=logits"],
        "kind must be one of logit, ",
    ),
    "no such policy": (
        [f"format={KD}", f"path={FILE}", "out=store", "on_error=ignore"],
        "on_error must be error or",
    ),
    "no such duplicates": (
        [f"format={KD}", f"path={FILE}", "out=store", "duplicates=last"],
        "duplicates must be one",
    ),
    "no threads": ([f"format={KD}", f"path={FILE}", "out=store", "threads=0"], "threads must be >= 1"),
    "option of no format": (
        [f"format={KD}", f"path={FILE}", "out=store", "format.x=1"],
        "format.x is no key",
    ),
    "no collection": (
        [f"format={KD}", f"path={FILE}", "out=store", "collection=x"],
        "collection: x is neither a BEIR",
    ),
    "no teacher": (["format=simlm", f"path={FILE}", "out=store"], "teacher.name must be given"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_anything_is_done(case, limbeck, scores, tmp_path):
    words, message = MISTAKES[case]
    status, out, err = limbeck("import", *words, small=False)
    assert status == 2, err
    assert message in err
    assert "Traceback" not in err + out
    assert [path.name for path in tmp_path.iterdir()] == ["bert_cat_ensemble.tsv"]


def test_a_bomb_is_refused(limbeck, tmp_path):
    class Bomb:
        def __reduce__(self):
            return eval, ("print('boom')",)

    (tmp_path / "scores.pkl").write_bytes(pickle.dumps({1: {2: Bomb()}}))
    status, out, err = limbeck(
        "import", "format=sbert_ce_scores", "path=scores.pkl", "out=store", "teacher.name=x", small=False
    )
    assert status == 2
    assert "refused: the pickle wants to use builtins.eval" in err
    assert "boom" not in out


FORMATS = sorted(name for kind, name in entries() if kind == "format")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_composes_and_is_documented(name, limbeck):
    status, out, err = limbeck("import", "--cfg", "job", f"format={name}", "path=x", "out=y", small=False)
    assert status == 0, err
    assert yaml.safe_load(out)["format"]["_target_"] == entries()["format", name].target
    assert f"`{name}`" in (home() / "docs" / "howto" / "import.md").read_text()
