"""Public training lists: the exact columns of each data set, as a store and, with texts, a collection."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.opening import Data
from limbeck.formats import parquet, records
from limbeck.formats.collection_folder import _RECENT, CollectionFolder, _Known, text_id
from limbeck.formats.faults import Faults
from limbeck.formats.files import found
from limbeck.formats.training_lists import TrainingLists
from limbeck.scores.writer import Provenance, write_store
from small import STUDENT, TRAINING

BGE = [
    {"query_id": "121352", "document_ids": ["2912791", "7282917"], "scores": [0.99, 0.25]},
    {"query_id": "634306", "document_ids": ["2912791"], "scores": [-1.5]},
]
BGE_TEXTS = {
    "english_queries.train": [
        {"query_id": "121352", "text": "extreme"},
        {"query_id": "634306", "text": "chattel"},
    ],
    "english_collection": [{"document_id": "2912791", "text": "far from"}, {"document_id": "7282917", "text": "not"}],
}
PASSAGES = {
    "query_id": "hotpotqa-1",
    "query": "which cat?",
    "positive_passages": [{"docid": "d1", "text": "a cat", "title": "Cats", "score": 7.5}],
    "negative_passages": [{"docid": "d2", "text": "a dog", "title": "", "score": -1.0}],
    "subset": "hotpotqa",
}


def write(path, rows, schema=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture
def bring(tmp_path):
    """Import a path; returns the store's scores, the collection if there is one, and the store."""

    def call(path, **options):
        source = TrainingLists(tmp_path / "store", **options)
        paths = found([str(path)])
        whose = source.source(paths)
        blocks = source.blocks(paths, Faults())
        store = write_store(tmp_path / "store", blocks, Provenance("t", whose.kind), notes=source.finish)
        scores = {(q, d): s for q, ids, values, _ in store for d, s in zip(ids, values.tolist(), strict=True)}
        folder = source.collection
        split = "train" if "positives" in store.meta else None
        data = Data(collection=str(folder), train=split, dev=None, test=None)
        opened = folder and data.open(Artefacts(tmp_path / "cache"))
        return scores, opened, store

    return call


def of_texts(pairs):
    """Return (query, document) → score by texts as by the ids made of them."""
    return pytest.approx({(text_id(query), text_id(document)): score for (query, document), score in pairs.items()})


@pytest.mark.parametrize("lists", ["lists", "texts of JSON", "texts of Python"])
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_lightonai_ms_marco(bring, tmp_path, lists, suffix):
    how = {"lists": lambda value: value, "texts of JSON": json.dumps, "texts of Python": str}[lists]
    rows = [{name: how(value) if isinstance(value, list) else value for name, value in row.items()} for row in BGE]
    folder = tmp_path / "ms-marco-en-bge-gemma"
    write(folder / f"dataset.{suffix}", rows)
    for name, texts in BGE_TEXTS.items():
        write(folder / f"{name}.{suffix}", texts)
    write(folder / ".cache" / "huggingface" / f"left.{suffix}", [{"x": 1}])
    (folder / "README.md").write_text("---\n")
    scores, collection, store = bring(folder)
    assert scores == pytest.approx(
        {("121352", "2912791"): 0.99, ("121352", "7282917"): 0.25, ("634306", "2912791"): -1.5}
    )
    assert dict(collection.iterate()) == {"2912791": "far from", "7282917": "not"}
    assert (store.meta["kind"], "positives" in store.meta) == ("unknown", False)
    assert TrainingLists(tmp_path / "x").source(found([str(folder)])).teacher == "BAAI/bge-reranker-v2-gemma"
    _, judged, _ = bring(folder, first_is_positive=True)
    assert judged.split("train").qrels == {"121352": {"2912791": 1}, "634306": {"2912791": 1}}
    assert judged.split("train").queries == {"121352": "extreme", "634306": "chattel"}


def test_ids_alone_bring_no_collection(bring, tmp_path):
    scores, collection, _ = bring(write(tmp_path / "list" / "data" / "train-00000-of-00001.parquet", BGE))
    assert len(scores) == 3
    assert collection is None
    assert not (tmp_path / "store.collection").exists()


@pytest.mark.parametrize("labels", [False, True])
def test_sentence_transformers_list(bring, tmp_path, labels):
    row = {"query_id": 1, "corpus_id": [11, 12, 13], "score": [9.5, 1, 2], **({"labels": [0, 1, 0]} if labels else {})}
    scores, _, store = bring(write(tmp_path / "list.parquet", [row]))
    assert scores == {("1", "11"): 9.5, ("1", "12"): 1.0, ("1", "13"): 2.0}
    assert store.meta.get("positives") == (1 if labels else None)


def test_sentence_transformers_margins_by_id(bring, tmp_path):
    folder = tmp_path / "msmarco"
    triples = [("7", "1", "2", 4.5), ("7", "1", "3", -0.5), ("7", "9", "2", 1.0), ("8", "2", "3", 6.0)]
    names = ("query_id", "positive_id", "negative_id", "score")
    write(
        folder / "bert-ensemble-margin-mse" / "train-0.parquet", [dict(zip(names, row, strict=True)) for row in triples]
    )
    write(folder / "corpus" / "train-0.parquet", [{"passage_id": str(i), "passage": f"text {i}"} for i in range(10)])
    write(folder / "queries" / "train-0.parquet", [{"query_id": q, "query": f"what {q}"} for q in "78"])
    scores, collection, store = bring(folder)
    assert scores == {("7", "1"): 0, ("7", "2"): -4.5, ("7", "3"): 0.5, ("8", "2"): 0, ("8", "3"): -6}
    assert collection.split("train").qrels == {"7": {"1": 1, "9": 1}, "8": {"2": 1}}
    assert len(dict(collection.iterate())) == 10
    assert store.meta["margins"]["pairs_left_out"] == 1  # of the second positive of query 7
    assert store.meta["kind"] == "similarity"


TRIPLE = {"query": "q", "positive": "p", "negative": "n"}


@pytest.mark.parametrize(
    ("row", "scores", "positives"),
    [
        ({**TRIPLE, "score": 2.5}, {("q", "p"): 0, ("q", "n"): -2.5}, 1),
        ({**TRIPLE, "label": [2.5]}, {("q", "p"): 0, ("q", "n"): -2.5}, 1),
        ({**TRIPLE, "score": [9.0, 1.0]}, {("q", "p"): 9, ("q", "n"): 1}, 1),
        (
            {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "scores": [3.0, 1.0, 2.0]},
            {("q", "p"): 3, ("q", "n"): 1, ("q", "m"): 2}, 1,
        ),
        (
            {"anchor": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "label": [1.5, -2.0]},
            {("q", "p"): 0, ("q", "n"): -1.5, ("q", "m"): 2}, 1,
        ),
        (
            {"query": "q", **{f"doc_{i}": f"d{i}" for i in range(12)}, "scores": [float(i) for i in range(12)]},
            {("q", f"d{i}"): i for i in range(12)}, None,
        ),
        ({"query": "q", "doc_1": "a", "doc_2": None, "scores": [1.0]}, {("q", "a"): 1}, None),
        ({"query": "q", "documents": ["a", "b"], "scores": [1.0, -2.0]}, {("q", "a"): 1, ("q", "b"): -2}, None),
        (
            {"query": "q", "docs": ["a", "b"], "scores": [1.0, -2.0], "labels": [0, 1]},
            {("q", "a"): 1, ("q", "b"): -2}, 1,
        ),
        (
            {"query": "q", "pos_text": "p", "negs_text": ["n"], "pos_score": 0.75, "negs_score": [0.25]},
            {("q", "p"): 0.75, ("q", "n"): 0.25}, 1,
        ),
        (
            {"query": "q", "document": "p", "negatives": ["n", "m"], "document_score": "0.75", "document_rank": "3",
             "negative_scores": ["0.5", "0.25"], "metadata": "{}"},
            {("q", "p"): 0.75, ("q", "n"): 0.5, ("q", "m"): 0.25}, 1,
        ),
        (
            {"query": "q", "document": "p", "negative_0": "n", "negative_1": "m", "document_score": 0.75,
             "document_rank": 3, "negative_scores": "[0.5, 0.25]"},
            {("q", "p"): 0.75, ("q", "n"): 0.5, ("q", "m"): 0.25}, 1,
        ),
        (
            {"query": "q", "pos": ["p"], "neg": ["n"], "pos_scores": [2.0], "neg_scores": [1.0], "type": ""},
            {("q", "p"): 2, ("q", "n"): 1}, 1,
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_layouts_with_texts(bring, tmp_path, row, scores, positives, suffix):
    found_scores, collection, store = bring(write(tmp_path / "data" / f"train.{suffix}", [row, row]))
    assert found_scores == of_texts(scores)
    assert store.meta.get("positives") == positives
    assert dict(collection.iterate()) == {text_id(document): document for _, document in scores}
    if positives:
        assert collection.split("train").queries == {text_id("q"): "q"}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_passages_of_tevatron(bring, tmp_path, suffix):
    scores, collection, _ = bring(write(tmp_path / "data" / f"train.{suffix}", [PASSAGES]))
    assert scores == {("hotpotqa-1", "d1"): 7.5, ("hotpotqa-1", "d2"): -1.0}
    assert dict(collection.iterate()) == {"d1": "Cats a cat", "d2": "a dog"}
    assert collection.split("train").qrels == {"hotpotqa-1": {"d1": 1}}


def test_one_id_with_two_texts(bring, tmp_path):
    other = json.loads(json.dumps(PASSAGES).replace("hotpotqa-1", "nq-1").replace("a dog", "a fish"))
    path = write(tmp_path / "train.jsonl", [PASSAGES, other])
    with pytest.raises(ConfigError, match=r"train.jsonl:2: document 'd2' has another text .*format.ids=texts"):
        bring(path)
    _, collection, _ = bring(path, ids="texts")
    assert sorted(text for _, text in collection.iterate()) == ["Cats a cat", "a dog", "a fish"]


def test_an_order_without_scores(bring, tmp_path):
    folder = tmp_path / "rankzephyr-colbert"
    scores, _, store = bring(write(folder / "train-0.parquet", [{"query_id": "q", "doc_ids": ["b", "a"]}]))
    assert scores == {("q", "b"): -1, ("q", "a"): -2}
    assert store.meta["kind"] == "rank"
    assert TrainingLists(tmp_path / "x").source(found([str(folder)])).teacher == "RankZephyr"


BAD = {
    "RLHN without scores": (
        {**PASSAGES, "positive_passages": [{"docid": "1", "text": "x"}], "negative_passages": []},
        "has passages without 'score': have a teacher score",
    ),
    "fewer scores": ({"query": "q", "documents": ["a", "b"], "scores": [1.0]}, "has 2 documents, but 1 in 'scores'"),
    "NaN": ({"query": "q", "documents": ["a"], "scores": [float("nan")]}, "a score that is no finite number"),
    "a text for a score": ({"query": "q", "documents": ["a"], "scores": ["high"]}, "'high' is no score"),
    "no documents": ({"query": "q", "documents": [], "scores": []}, "has no documents"),
    "an empty text": ({"query": "q", "documents": [" "], "scores": [1.0]}, "' ' is no text"),
    "a fraction for an id": ({"query_id": 1.5, "document_ids": ["1"], "scores": [1.0]}, "1.5 is no id"),
    "a list that is none": ({"query_id": "1", "document_ids": "['1'", "scores": [1.0]}, "has no list 'document_ids'"),
    "cornstack without negatives' scores": (
        {"query": "q", "document": "p", "negative_0": "n", "document_score": 0.5, "document_rank": 1},
        "has a score of 'document' but none of its negatives",
    ),
    "labels of another length": (
        {"query": "q", "documents": ["a"], "scores": [1.0], "labels": [1, 0]}, "has 1 documents, but 2 in 'labels'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_malformed_rows_are_named_by_file_and_row(tmp_path, rows, case):
    row, message = BAD[case]
    path = write(tmp_path / "train.jsonl", [row])
    with pytest.raises(ConfigError) as told:
        rows("training_lists", path)
    assert str(told.value).startswith(f"{path}:1: ")
    assert message in str(told.value)
    assert not (tmp_path / "store.collection").exists()


def test_a_bad_row_of_parquet_is_left_out_if_asked_to(tmp_path, rows):
    good = {"query_id": "1", "document_ids": ["1"], "scores": [1.0]}
    path = write(tmp_path / "train.parquet", [good, {**good, "scores": [1.0, 2.0]}, good])
    read, faults = rows("training_lists", path, on_error="skip")
    assert read == [("1", "1", 1.0)] * 2
    assert faults.places == [f"{path}:2: has 1 documents, but 2 in 'scores'"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jsonl": {"x": 1, "y": 2}}, "the file has the columns x, y, which are neither lists with scores nor texts"),
        ({"a.jsonl": {"query": "q", "positive": "p", "negative": "n"}}, "Lists without scores are for limbeck score"),
        ({"a.jsonl": {"query_id": "1", "text": "q"}}, "there are only texts here, and no lists"),
        (
            {"a.jsonl": BGE[0], "b.jsonl": {"document_id": "1", "text": "d"}},
            "there are texts of documents, but none of queries",
        ),
        (
            {"a.jsonl": BGE[0], "b.jsonl": {"docid": "1", "text": "d"}, "c.jsonl": {"qid": "121352", "text": "d"}},
            "a.jsonl:1: document '2912791' has no text in the other files",
        ),
    ],
)  # fmt: skip
def test_files_that_do_not_go_together(bring, tmp_path, files, message):
    for name, row in files.items():
        write(tmp_path / "data" / name, [row])
    with pytest.raises(ConfigError, match=message):
        bring(tmp_path / "data")


def test_a_folder_without_data(tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(ConfigError, match="is a folder; give its files"):
        found([str(tmp_path)])


def test_many_row_groups_are_read_one_after_the_other(tmp_path):
    groups, rows_of_each, length = 60, 50, 40
    schema = pa.schema(
        [("query_id", pa.string()), ("document_ids", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))]
    )
    path = tmp_path / "train.parquet"
    with pq.ParquetWriter(path, schema) as out:
        for group in range(groups):
            batch = [
                {"query_id": f"q{group}-{row}", "document_ids": [f"{row} {i} {'x' * 200}" for i in range(length)],
                 "scores": [float(i) for i in range(length)]} for row in range(rows_of_each)
            ]  # fmt: skip
            out.write_table(pa.Table.from_pylist(batch, schema=schema))
    size = pa.Table.from_pylist(batch, schema=schema).nbytes
    source, peak, pairs = TrainingLists(tmp_path / "store"), 0, 0
    before = pa.total_allocated_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "ROWS", rows_of_each)
        patch.setattr("limbeck.formats.training_lists._PAIRS", rows_of_each * length)
        for thunk in source.blocks([path], Faults()):
            peak = max(peak, pa.total_allocated_bytes() - before)
            pairs += len(thunk().scores)
    assert pairs == groups * rows_of_each * length
    assert peak < 12 * size < groups * size / 4
    assert parquet.is_parquet(path)


def test_ids_are_kept_in_sixteen_bytes_each(monkeypatch):
    monkeypatch.setattr("limbeck.formats.collection_folder._RECENT", 7)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 300, 900).tolist()
    known, plain = _Known(), {}
    for value, key in enumerate(keys):
        assert known.put(key, value) == plain.get(key)
        plain.setdefault(key, value)
        assert len(known._recent) < 7 <= _RECENT
    assert {key: known.get(key) for key in range(300)} == {key: plain.get(key) for key in range(300)}


def test_a_folder_is_whole_or_not_there(tmp_path):
    def fail():
        with CollectionFolder(tmp_path / "beir") as folder:
            folder.document("a text")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not (tmp_path / "beir").exists()


def test_it_trains_and_evaluates(limbeck, cache, tmp_path):
    rng = np.random.default_rng(0)
    words = ["cat", "dog", "fish", "bird", "tree", "moon", "rain", "snow"]
    rows = []
    for i in range(8):
        texts = [f"{words[i]} {' '.join(rng.choice(words, 4))} {j}" for j in range(5)]
        passages = [
            {"docid": f"{i}-{j}", "text": text, "title": "", "score": 3 - j + rng.normal()}
            for j, text in enumerate(texts)
        ]
        judged = {"positive_passages": passages[:1], "negative_passages": passages[1:]}
        rows.append({"query_id": f"q{i}", "query": words[i], **judged})
    write(tmp_path / "rlhn" / "data" / "train-00000-of-00002.parquet", rows[:4])
    write(tmp_path / "rlhn" / "data" / "train-00001-of-00002.parquet", rows[4:])
    command = ["import", "format=training_lists", "path=rlhn", "out=scores", "teacher.name=bge", "kind=logit"]
    status, out, err = limbeck(*command, small=False)
    assert status == 0, err
    assert "scores.collection" in out
    words = ["data=collection", "data.collection=scores.collection", "data.dev=null", "data.test=train"]
    status, out, err = limbeck(
        "train", "teacher=store", "teacher.path=scores", "teacher.missing=drop", "loss=kl", "eval.start=false", *words,
        *STUDENT, *TRAINING, f"paths.cache={cache}", small=False,
    )  # fmt: skip
    assert status == 0, err
    assert "student" in out
    assert limbeck(*command, small=False)[0] == 2  # the collection is there
