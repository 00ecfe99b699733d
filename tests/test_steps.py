"""Every step that may take long reports; the clock jumps, so that each takes minutes. And what a step says it needs.

A step in whose way the disk or the memory is stops before it; one that has just enough room does not.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jumping import jumping, lines, listening
from limbeck import room
from limbeck.config import ConfigError
from limbeck.data.bm25 import BM25
from limbeck.data.candidates import Search, find
from limbeck.data.fingerprints import sha256
from limbeck.data.opening import Data
from limbeck.data.pooling import Pooling
from limbeck.evaluation import array_run
from limbeck.evaluation.best import held
from limbeck.evaluation.metrics import evaluate
from limbeck.evaluation.ranking import rerank as rerank_texts
from limbeck.evaluation.ranking import search as search_texts
from limbeck.evaluation.runs import read_run, write_run
from limbeck.experiment import assemble, found
from limbeck.formats import parquet, pickles
from limbeck.inference import score_lists
from limbeck.plan import Plan
from limbeck.progress import reporting_to
from limbeck.rankings import Ranking
from limbeck.scores.parts import Block
from limbeck.scores.writer import Provenance, write_store
from limbeck.search import backend as backends
from limbeck.search import encoding
from limbeck.search.encoding import encode_into
from limbeck.search.exact import Exact
from limbeck.search.faiss import Faiss
from limbeck.search.inverted import Inverted
from limbeck.search.ranking import rerank, search
from limbeck.search.shards import Store
from limbeck.teachers.lists import by_lists
from limbeck.teachers.scoring import PART, ROW, score_into

sys.path.insert(0, str(Path(__file__).parent / "search"))
import search_worlds

RUN = {f"q{n}": Ranking([f"d{m}" for m in range(20)], np.arange(20, 0, -1).astype(np.float32)) for n in range(30)}
QRELS = {query: {"d1": 1} for query in RUN}
WHO = Provenance("a teacher", "logit")
TINY = {
    "_target_": "backbone/tiny", "vocab_size": 300, "width": 16, "layers": 1, "heads": 2, "untrained": True
}  # fmt: skip
DENSE = {
    "_target_": "candidates/dense",
    "student": {"_target_": "student/dense", "query_length": 8, "document_length": 12},
    "backbone": TINY,
}


@pytest.fixture
def data(tmp_path):
    """A folder of 60 documents and 40 queries."""
    rng, folder = np.random.default_rng(0), tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {f"d{n}": " ".join(f"w{w}" for w in rng.integers(0, 50, 12)) for n in range(60)}
    queries = {f"q{n}": " ".join(f"w{w}" for w in rng.integers(0, 50, 3)) for n in range(40)}
    for name, of in (("corpus", texts), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"_id": i, "text": t}) + "\n" for i, t in of.items()))
    judged = "".join(f"{query}\td{n}\t1\n" for n, query in enumerate(queries))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return Data(collection=str(folder), train="train", dev=None, test=None)


@pytest.fixture
def opened(data, artefacts):
    return Search(data.open(artefacts), "train", artefacts)


@pytest.fixture
def free(monkeypatch):
    """Say how much memory and disk there is."""

    def set_to(memory=None, disk=None):
        if memory is not None:
            monkeypatch.setattr(room, "free_memory", lambda: memory)
        if disk is not None:
            monkeypatch.setattr(room, "free_disk", lambda folder: disk)

    return set_to


class Teacher:
    """Scores pairs by their numbers, so many together."""

    def __init__(self, together=50):
        self._together = together

    def plan(self, lists, size):
        return Plan(lists, by_document=False, size=self._together)

    def scorer(self, plan):
        return by_lists(lambda queries, lists: [np.arange(len(each), dtype=np.float32) for each in lists], plan)


LISTS = {f"q{n}": [f"d{m}" for m in range(n, n + 20)] for n in range(20)}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return search_worlds.tokenizer(tmp_path_factory.mktemp("tokenizer"))


# -- collections --------------------------------------------------------------------------------------------------


def test_opening(data, artefacts, caplog):
    with listening(caplog):
        collection = data.open(artefacts)
        assert len(collection.document_ids) == 60
        next(iter(collection.document_texts(["d1"])))
    for label in ("judgments of", "queries of", "checksum of corpus.jsonl", "ids of", "document store"):
        assert [each for each in caplog.messages if each.startswith(label)], label
    estimate, share, _ = lines(caplog, "document store")
    assert estimate.startswith("60 documents, about ")
    assert share.startswith("100 % of 60 documents, ")


def test_a_checksum(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("limbeck.data.fingerprints._BLOCK", 100)
    (tmp_path / "file").write_bytes(bytes(400))
    with listening(caplog):
        assert sha256(tmp_path / "file") == hashlib.sha256(bytes(400)).hexdigest()
    assert [each.split(" %")[0] for each in lines(caplog, "checksum of file")][1:-1] == ["25", "50", "75", "100"]


# -- candidates and pools -----------------------------------------------------------------------------------------


def test_bm25(opened, monkeypatch, caplog):
    monkeypatch.setattr("limbeck.data.bm25._BLOCK", 20)
    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 10)
    with listening(caplog):
        find(BM25(depth=5), opened)
    estimate, *others = lines(caplog, f"BM25 index of {opened.collection.name}")
    assert [each.split(" %")[0] for each in others if " %" in each] == ["33", "66", "100"]
    assert re.match(r"60 documents, about \d+ min, [\d.]+ kB of memory, [\d.]+ kB on disk in ", estimate)
    estimate, *shares, _ = lines(caplog, "BM25 (k1=0.9, b=0.4) for train queries")
    assert {"25", "50", "75", "100"} <= {each.split(" %")[0] for each in shares}
    assert re.match(rf"40 queries, about \d+ min, [\d.]+ kB on disk in {opened.artefacts.root}$", estimate)


def test_what_is_there_already_is_not_counted(opened, monkeypatch, caplog):
    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 10)
    find(BM25(depth=5), opened)
    for path in list((opened.artefacts.root / "candidates").iterdir())[:2]:
        if path.is_dir():
            shutil.rmtree(path)
    left = 40 - 10 * sum(path.is_dir() for path in (opened.artefacts.root / "candidates").iterdir())
    with listening(caplog):
        find(BM25(depth=5), opened)
    assert lines(caplog, "BM25 (k1=0.9, b=0.4) for train queries")[0].startswith(f"{left} queries, ")


def test_dense_candidates_and_pool(opened, monkeypatch, caplog):
    torch.manual_seed(1)
    with listening(caplog):
        found = find(assemble.candidates({**DENSE, "depth": 5}, torch.device("cpu")), opened)
        Pooling().choose(opened.collection.split("train").qrels, found, opened.collection.document_ids)
    assert lines(caplog, "dense search for train queries")
    assert [each for each in caplog.messages if re.match(r"encoding into .*: 100 % of 60 documents", each)]
    assert lines(caplog, "training pool")[-1].startswith("40 queries in ")


def test_an_index_of_bm25_that_does_not_fit(opened, free):
    index = BM25(depth=5)
    find(index, opened)
    (made,) = (opened.artefacts.root / "bm25").glob("*/index")
    weights = sum(np.load(made / f"{name}.csc.index.npy").nbytes for name in ("data", "indices"))
    for kind in ("bm25", "candidates"):
        shutil.rmtree(opened.artefacts.root / kind)
    free(memory=weights - 1)
    with pytest.raises(ConfigError, match=r"BM25 index of .* needs .* but only .* are free: take candidates="):
        find(BM25(depth=5), opened)
    free(memory=weights)
    assert len(find(BM25(depth=5), opened)) == 40


# -- runs ---------------------------------------------------------------------------------------------------------


def test_runs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("limbeck.evaluation.runs.BLOCK", 4096)
    path = tmp_path / "a.trec"
    with listening(caplog):
        write_run(path, RUN, "me")
        assert read_run(path).keys() == RUN.keys()
        evaluate(QRELS, RUN, ["ndcg@10", "mrr@10"])
    assert lines(caplog, "writing a.trec")[-1].startswith("30 queries in ")
    estimate, first, *_ = lines(caplog, "reading a.trec")
    assert estimate.startswith(f"{path.stat().st_size / 1000:.0f} kB, about ")
    assert 20 < int(first.split(" %")[0]) < 60
    assert [each.split(" %")[0] for each in lines(caplog, "evaluating")][1:-1] == ["50", "100"]


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst", ".lz4"])
def test_the_place_in_a_compressed_file_is_known(tmp_path, monkeypatch, caplog, ending):
    monkeypatch.setattr("limbeck.evaluation.runs.BLOCK", 1 << 17)
    rng = np.random.default_rng(0)
    lines_of = [f"q{n} Q0 d{rng.integers(10**9)} {n} {rng.random():.9g} me\n" for n in range(9_000)]
    packed = {
        "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lambda data: lzma.compress(data, preset=0),
        ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True), ".lz4": lambda data: lz4(data),
    }  # fmt: skip

    def lz4(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "lz4") as out:
            out.write(data)
        return sink.getvalue().to_pybytes()

    path = tmp_path / f"a.trec{ending}"
    path.write_bytes(packed[ending]("".join(lines_of).encode()))
    with listening(caplog):
        assert len(read_run(path)) == 9_000
    shares = [int(each.split(" %")[0]) for each in lines(caplog, f"reading {path.name}") if " %" in each]
    assert shares[-1] == 100
    assert shares == sorted(shares)


# -- scores -------------------------------------------------------------------------------------------------------


def test_scores(tmp_path, monkeypatch, caplog):
    path = tmp_path / "store"
    with listening(caplog):
        store = score_into(path, Teacher(), LISTS, WHO)
        store.verify()
        store.lookup_many(list(LISTS), np.arange(0, 401, 20), pa.array([d for ids in LISTS.values() for d in ids]))
    estimate, *shares, _ = lines(caplog, f"scoring into {path}")
    assert [each.split(" %")[0] for each in shares] == ["12", "25", "37", "50", "62", "75", "87", "100"]
    assert re.match(r"400 pairs, about \d+ min, 9.6 kB of memory, 14 kB on disk in ", estimate)
    for label in ("merging", "checking", "looking scores up in"):
        assert lines(caplog, f"{label} {path}")[-1].startswith("20 queries" if "up" in label else "400 pairs"), label


def test_what_a_pair_takes_on_disk(tmp_path, monkeypatch):
    """Parts and the merged store are there at the same time."""
    lists = {f"{n}": [f"{m}" for m in range(2000)] for n in range(10)}
    seen, remove = [], shutil.rmtree

    def watched(target, *args, **kwargs):
        if target == tmp_path / "store" / "parts":
            seen.append(sum(file.stat().st_size for file in (tmp_path / "store").rglob("*.arrow")))
        remove(target, *args, **kwargs)

    monkeypatch.setattr("limbeck.scores.writer.shutil.rmtree", watched)
    score_into(tmp_path / "store", Teacher(5000), lists, WHO)
    assert 1 <= seen[-1] / (20_000 * (PART + ROW)) < 1.05


def test_what_a_ranked_document_takes_on_disk(tmp_path):
    run = {f"q{n}": Ranking([f"d{m}" for m in range(1000, 2000)], np.arange(1000, 0, -1)) for n in range(20)}
    array_run.write(tmp_path / "run.arrow", run)
    assert 1 <= (tmp_path / "run.arrow").stat().st_size / (20_000 * array_run.size(["d1000", "d1001"])) < 1.05


def test_a_plan_takes_no_less_than_is_said():
    plan = Plan(LISTS, by_document=True, size=50)
    arrays = (plan.documents, plan.queries, plan._order)
    assert sum(each.nbytes for each in arrays) == 24 * plan.pairs


def test_scores_that_do_not_fit_on_the_disk(tmp_path, free):
    pairs = 400
    free(disk=pairs * (PART + ROW) - 1)
    with pytest.raises(ConfigError, match=r"scoring 400 pairs needs 14 kB of disk in .* are free: score fewer pairs"):
        score_into(tmp_path / "store", Teacher(), LISTS, WHO)
    free(disk=pairs * (PART + ROW))
    assert len(score_into(tmp_path / "store", Teacher(), LISTS, WHO)) == pairs


def test_imports(tmp_path, caplog):
    table = pa.table({"query_id": [1, 1, 2], "corpus_id": [1, 2, 3], "score": [0.5, 1.5, 2.5]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({n: {70_000 + n: 0.5} for n in range(3000)}))
    with listening(caplog):
        list(parquet.read(tmp_path / "a.parquet", parquet.columns(tmp_path / "a.parquet", "score")))
        list(pickles.items(tmp_path / "a.pkl"))
        write_store(tmp_path / "store", [lambda: Block(np.array([1]), np.array([2]), np.ones(1, np.float32))], WHO)
    assert lines(caplog, "reading a.parquet")[-1].startswith("3 rows in ")
    assert lines(caplog, "reading a.pkl")[-1].startswith(f"{(tmp_path / 'a.pkl').stat().st_size / 1000:.0f} kB in ")
    assert lines(caplog, f"merging {tmp_path / 'store'}")[-1].startswith("1 pairs in ")


# -- indexes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "backend"),
    [("dense", Exact()), ("multi", Exact()), ("sparse", Inverted()), ("dense", Faiss()), ("dense", Faiss(type="hnsw"))],
)
def test_index_and_search(tokens, tmp_path, caplog, kind, backend):
    if backend.name == "faiss":
        pytest.importorskip("faiss")
    made, collator = search_worlds.student(kind, tokens)
    store = Store.open(tmp_path / "index", search_worlds.identity(kind), {})
    documents, queries = search_worlds.DOCUMENTS, list(search_worlds.QUERIES)
    with listening(caplog):
        assert encode_into(store, made, collator, documents.items(), count=len(documents)).finished
        backends.build(backend, store)
        encoded = search_worlds.encode(made, collator, queries, "query")
        found = search(backend, made, queries, encoded, store, 5)
        rerank(made, queries, encoded, store, found)
    estimate, *shares, _ = lines(caplog, f"encoding into {store.path}")
    shards = [each for each in shares if each[:3] in ("21 ", "43 ", "65 ", "86 ", "100")]
    assert len({each.split(" ")[0] for each in shards}) == 5
    said = rf"[\d.]+ kB on disk in {store.path}"
    assert re.match(r"230 documents, about [\d hmin]+" + (f", {said}" if kind == "dense" else "$"), estimate)
    assert kind == "dense" or any(re.match(f"needs {said}", each) for each in shares)
    if kind == "sparse":
        assert lines(caplog, f"inverted lists of {store.path}")[-1].startswith("230 documents")
    if getattr(backend, "type", "") == "hnsw":
        assert re.match(
            r"230 documents, about [\d hmin]+, [\d.]+ kB of mem", lines(caplog, f"faiss index of {store.path}")[0]
        )
    assert lines(caplog, f"{backend.name} search")[-1].startswith("9 queries in ")
    assert lines(caplog, "re-ranking")[-1].startswith("45 pairs in ")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_that_does_not_fit_on_the_disk(tokens, tmp_path, free, dtype):
    made, collator = search_worlds.student("dense", tokens)
    documents, values = search_worlds.DOCUMENTS, 230 * 16 * (4 if dtype == "float32" else 2)
    store = Store.open(tmp_path / "index", search_worlds.identity("dense", dtype=dtype), {})
    free(disk=values - 1)
    with pytest.raises(ConfigError, match=r"needs .* of disk in .*index, but only .* are free: buy one"):
        encode_into(store, made, collator, documents.items(), count=230, instead="buy one")
    assert not list((tmp_path / "index").glob("shard-*"))
    free(disk=values)
    assert encode_into(store, made, collator, documents.items(), count=230, instead="buy one").finished
    written = sum(path.stat().st_size for path in (tmp_path / "index").glob("*/values.npy"))
    assert values <= written < values + 5 * 200  # a head for each shard
    free(disk=0)  # all is there: nothing is needed
    assert encode_into(store, made, collator, documents.items(), count=230).finished


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_faiss_takes_what_it_says(tokens, tmp_path, free, kind, dtype):
    pytest.importorskip("faiss")
    made = search_worlds.world("dense", tokens, tmp_path, dtype=dtype)
    backend = Faiss(type=kind, neighbours=8)
    said = backend.memory(made.store, 16)
    free(memory=said - 1)
    with pytest.raises(
        ConfigError, match=rf"backend=faiss backend.type={kind} needs .* of memory, .*: choose backend="
    ):
        backends.build(backend, made.store)
    free(memory=said)
    written = (backends.build(backend, made.store) / "index.faiss").stat().st_size
    assert said <= written < 2 * said + 3000  # with centroids, the upper floors of a graph and a head


def test_what_the_best_of_a_search_take(tokens, tmp_path, free):
    made = search_worlds.world("dense", tokens, tmp_path)
    free(memory=held(9, 100, 230) - 1)
    with pytest.raises(ConfigError, match=r"the best 100 documents of 9 queries needs .* of memory"):
        search(Exact(), made.ranker, made.query_ids, made.queries, made.store, 100)
    free(memory=held(9, 100, 230))
    found = search(Exact(), made.ranker, made.query_ids, made.queries, made.store, 100)
    rankings = sum(each.nbytes for each in found.batches)
    best = 8 * sum(found.lengths())  # rows and scores, of at least the depth
    assert held(9, 100, 230) <= rankings + best < 1.3 * held(9, 100, 230)
    assert held(9, 10**9, 230) == held(9, 230, 230)


def test_evaluation_of_texts(tokens, caplog):
    made, collator = search_worlds.student("dense", tokens)
    queries, documents = list(search_worlds.QUERIES), list(search_worlds.DOCUMENTS)
    with listening(caplog):
        found = search_texts(made, collator, queries, documents, 5)
        rerank_texts(made, collator, found)
    assert lines(caplog, "exact search")[-1].startswith("230 documents in ")
    assert lines(caplog, "scoring candidates")[-1].startswith("45 pairs in ")


def test_queries_that_are_encoded_first_are_no_share_of_the_pairs(tokens):
    """Scoring says 100 % only when the documents are encoded."""
    made, collator = search_worlds.student("dense", tokens)
    shares = []
    with jumping(), reporting_to(lambda label, done, total: shares.append((label, done / total))):
        score_lists(made, collator, {query: list(search_worlds.DOCUMENTS) for query in search_worlds.QUERIES})
    pairs = [share for label, share in shares if label == "scoring candidates"]
    assert pairs[0] < 0.5  # after the first of two batches of documents
    assert pairs[-1] == 1
    assert shares[0][0] == f"encoding {len(search_worlds.QUERIES)} queries"


def test_a_shard_is_encoded_when_its_last_block_is(tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "BLOCK", 46)  # a fifth of the documents
    made, collator = search_worlds.student("dense", tokens)
    store = Store.open(tmp_path / "index", search_worlds.identity("dense", shard_size=230), {})
    shares = []
    with jumping(), reporting_to(lambda label, done, total: shares.append(done / total)):
        encode_into(store, made, collator, search_worlds.DOCUMENTS.items(), count=230)
    assert shares == sorted(shares)
    assert {0.2, 0.4, 0.6, 0.8, 1.0} <= {round(share, 6) for share in shares}


def test_a_run_is_written_when_its_last_queries_are(tmp_path, monkeypatch):
    """Each block of queries is evaluated in several steps, and then written."""
    monkeypatch.setattr(found, "_QUERIES", 15)
    shares = []
    with jumping(), reporting_to(lambda label, done, total: shares.append((label, done / total))):
        found.write([(list(RUN), RUN)], tmp_path / "run.trec", QRELS, ["ndcg@10", "mrr@10"], len(RUN))
    assert {label for label, _ in shares} == {f"writing {tmp_path / 'run.trec'}"}
    assert {0.2, 0.4, 0.6, 0.8, 1.0} <= {round(share, 6) for _, share in shares}
