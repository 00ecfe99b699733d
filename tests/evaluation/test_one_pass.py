"""Sets with the same documents are searched together, and found as if each had been searched by itself."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.artefacts import Artefacts
from limbeck.data.opening import described
from limbeck.evaluation import ranking
from limbeck.evaluation.fusion import ReciprocalRankFusion
from limbeck.evaluation.sets import EvalSet
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble, engine, sharing
from limbeck.experiment.suite import Model, Suite
from small import STUDENT as SMALL_STUDENT
from small import TRAINING

STUDENT = {"_target_": "student/dense", "query_length": 8, "document_length": 12}
TINY = {"_target_": "backbone/tiny", "vocab_size": 300, "width": 16, "layers": 1, "heads": 2}
BM25 = {"_target_": "candidates/bm25", "stopwords": None, "depth": 100}
COUNT = 30


@pytest.fixture
def beir(folder):
    """Thirty documents and twelve queries; two files judge the same query."""
    rng = np.random.default_rng(0)
    for name, count, length in (("corpus", COUNT, 9), ("queries", 12, 4)):
        texts = [" ".join(rng.choice([f"w{k}" for k in range(30)], length)) for _ in range(count)]
        lines = (f'{{"_id": "{name[0]}{i}", "text": "{text}"}}\n' for i, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("".join(lines))
    for name, queries in {"dev": range(8), "dl19": range(7, 12), "dl20": range(3)}.items():
        lines = (f"q{i}\tc{i}\t1\n" for i in queries)
        (folder / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


@pytest.fixture
def student(beir, artefacts, tmp_path):
    torch.manual_seed(1)
    collection = described(EvalSet(collection=str(beir), split="dev").data()).open(artefacts)
    model, collator = assemble.ranker(STUDENT, TINY, collection, artefacts, anew=True)
    assemble.save(model, collator.tokenizer, tmp_path / "student", STUDENT, "1")
    return Model("mine", "student", tmp_path / "student")


def evaluated(student, artefacts, beir, folder, sets, **options):
    """Evaluate, and return rows and bytes of the run files."""
    evaluation = Evaluation(ReciprocalRankFusion(), search_depth=9, **options)
    nodes = {
        name: {"_target_": "eval_set/eval_set", "collection": str(beir), "split": name.split("_")[0], **options}
        for name, options in sets.items()
    }
    rows = Suite(evaluation, nodes, BM25, None, artefacts, "cpu", folder).run([student])
    return {name: rows[name]["rows"] for name in sets}, {path.name: path.read_bytes() for path in folder.glob("runs/*")}


@pytest.fixture
def encoded(monkeypatch):
    """Count the documents that are encoded."""
    counted = []
    encode = ranking.encode

    def call(ranker, collator, ids, role, **options):
        if role == "document":
            counted.append(len(ids))
        return encode(ranker, collator, ids, role, **options)

    monkeypatch.setattr(ranking, "encode", call)
    return counted


def test_documents_of_several_sets_are_encoded_once(beir, artefacts, student, encoded, tmp_path):
    sets = {
        "dev": {},
        "dl19": {"query_length": 5},
        "dl20": {"document_length": 6},
    }
    together = evaluated(student, artefacts, beir, tmp_path / "together", sets)
    assert sum(encoded) == 2 * COUNT  # at two lengths
    for name in ("dl19", "dl20"):
        rows, runs = evaluated(student, artefacts, beir, tmp_path / name, {name: sets[name]})
        assert rows[name] == together[0][name]
        assert len(runs) == 2
        assert runs.items() <= together[1].items()
    assert sum(encoded) == 4 * COUNT


def test_a_set_that_cannot_be_opened_costs_the_others_nothing(beir, artefacts, student, encoded, tmp_path):
    (beir / "qrels" / "dl19.tsv").write_text("q0 c0\n")
    evaluation = Evaluation(ReciprocalRankFusion())
    sets = {
        name: {"_target_": "eval_set/eval_set", "collection": str(beir), "split": name}
        for name in ("dev", "dl19", "dl20")
    }
    found = Suite(evaluation, sets, BM25, None, artefacts, "cpu", tmp_path / "out").run([student])
    assert [name for name in sets if "missing" in found[name]] == ["dl19"]
    assert sum(encoded) == COUNT


def test_several_devices_search_sets_in_one_pass(beir, artefacts, student, encoded, tmp_path, monkeypatch):
    def in_turn(devices, words):
        for number in range(devices):
            engine.work(Path(words(number)[1]), number)

    sets = {"dev": {}, "dl19": {"query_length": 5}, "dl20": {"document_length": 6}}
    monkeypatch.setattr(ranking, "PIECE", 8)
    expected = evaluated(student, artefacts, beir, tmp_path / "alone", sets)
    encoded.clear()
    monkeypatch.setattr(sharing, "each_device", in_turn)
    assert evaluated(student, artefacts, beir, tmp_path / "shared", sets, devices=2) == expected
    assert sum(encoded) == 2 * COUNT


def test_what_a_pass_has_found_survives_a_kill(beir, artefacts, student, encoded, tmp_path, monkeypatch):
    """The kill falls between the sets: those that were searched beside the first are not searched again."""
    sets = {"dev": {}, "dl19": {}, "dl20": {}}
    expected = evaluated(student, artefacts, beir, tmp_path / "whole", sets)
    encoded.clear()
    first = Suite._one

    def dies(self, name, *given):
        if name == "dl19" and dying:
            raise KeyboardInterrupt
        return first(self, name, *given)

    monkeypatch.setattr(Suite, "_one", dies)
    dying = True
    with pytest.raises(KeyboardInterrupt):
        evaluated(student, artefacts, beir, tmp_path / "out", sets)
    dying = False
    assert evaluated(student, artefacts, beir, tmp_path / "out", sets) == expected
    assert sum(encoded) == COUNT


def test_a_training_encodes_its_own_documents_and_those_of_its_sets_once(beir, encoded, limbeck, tmp_path):
    """As each by itself, to the bit; a set of other documents is a pass of its own."""
    other = tmp_path / "other"
    shutil.copytree(beir, other)
    with (other / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "c99", "title": "", "text": "w1 w2"}\n')
    words = ["data=collection", f"data.collection={beir}", "data.train=dl19", "data.dev=null", "data.test=dev",
             "teacher=none", "loss=[info_nce]", "eval.start=false", "eval.search_depth=9", "candidates.stopwords=null",
             "trainer.validate_every=0", "paths.cache=own"]  # fmt: skip
    sets = {"dl19": beir, "dl20": beir, "else": other}
    for name, place in sets.items():
        split = "dl20" if name == "else" else name
        words.append(
            f"+eval.sets.{name}={{_target_: eval_set/eval_set, collection: {place}, split: {split}, metrics: null, "
            "drop_self: false, query_length: null, document_length: null, documents: null, queries: null}"
        )
    status, _, err = limbeck("train", *SMALL_STUDENT, *TRAINING, *words, "name=mine", small=False)
    assert status == 0, err
    assert sum(encoded) == COUNT + COUNT + 1
    (run,) = (tmp_path / "runs" / "mine").glob("*/")
    together = {path.name: path.read_bytes() for path in run.glob("runs/*.student.trec")}
    assert len(together) == 1 + len(sets)
    assert not (run / ".shares").exists()
    for name, split in {"dev": "dev", "dl19": "dl19", "dl20": "dl20"}.items():
        node = {"_target_": "eval_set/eval_set", "collection": str(beir), "split": split}
        evaluation = Evaluation(ReciprocalRankFusion(), search_depth=9)
        Suite(evaluation, {name: node}, BM25, None, Artefacts(tmp_path / "own"), "cpu", tmp_path / name).run(
            [Model("student", "student", run)]
        )
        alone = (tmp_path / name / "runs" / f"{name}.student.trec").read_bytes()
        assert alone == together[f"{'test' if name == 'dev' else name}.student.trec"]
