"""``limbeck index`` and ``limbeck search`` for real."""

import json
import os
import re
import signal
import time

import numpy as np
import pytest

from limbeck.config import entries
from limbeck.evaluation.runs import read_run

WORLD = [
    "data.world.documents=200",
    "data.world.topics=6",
    "data.world.train=60",
    "data.world.dev=10",
    "data.world.test=20",
]
TINY = ["backbone.width=16", "backbone.layers=1", "backbone.heads=2", "backbone.untrained=true"]
STUDENTS = {
    "dense": ["student=dense"],
    "sparse": ["student=splade"],
    "multi": ["student=colbert", "student.dimension=16"],
}


@pytest.fixture
def index(limbeck, cache):
    def call(*words, out="index", kind="dense"):
        words = [*WORLD, *TINY, f"paths.cache={cache}", "shard_size=30", *STUDENTS[kind], f"out={out}", *words]
        return limbeck("index", *words, small=False)

    return call


@pytest.fixture
def search(limbeck, cache):
    def call(*words, index="index", out="run.trec"):
        words = [f"paths.cache={cache}", "accelerator=cpu", f"index={index}", f"out={out}", *words]
        return limbeck("search", *words, small=False)

    return call


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}


@pytest.mark.parametrize("name", sorted(name for kind, name in entries() if kind == "backend"))
def test_every_backend_composes(name, limbeck):
    for words in (["index", "out=x"], ["search", "index=x", "out=y"]):
        status, out, err = limbeck(*words, f"backend={name}", "--cfg", "job", small=False)
        assert status == 0, err
        assert f"_target_: backend/{name}\n" in out


@pytest.mark.parametrize(
    ("kind", "backend"), [("dense", "exact"), ("dense", "faiss"), ("sparse", "inverted"), ("multi", "exact")]
)
def test_a_collection_is_indexed_searched_and_evaluated(index, search, tmp_path, kind, backend):
    if backend == "faiss":
        pytest.importorskip("faiss")
    status, _, err = index(f"backend={backend}", kind=kind)
    assert status == 0, err
    assert re.search(r"index: encoded 200 of 200 documents: [\d.]+ s, \d+ documents/s", err)
    assert f"{backend} index ready" in err
    status, out, err = search("depth=15")
    assert status == 0, err
    assert re.search(rf"20 queries encoded in [\d.]+ s, searched by {backend} in [\d.]+ s: [\d.]+ queries/s", err)
    assert re.search(r"a query alone: [\d.]+ ms \(median of 10\)", err)
    assert re.search(r"ndcg@10 .*recall@1000", out)
    run = read_run(tmp_path / "run.trec")
    assert len(run) == 20
    assert {len(ranking.ids) for ranking in run.values()} == {15}
    status, _, err = search("depth=15", "backend=exact", "timed=0", out="exact.trec")
    assert status == 0, err
    for query, ranking in read_run(tmp_path / "exact.trec").items():
        np.testing.assert_allclose(run[query].scores, ranking.scores, rtol=1e-4, atol=1e-5)


def test_judgments_and_queries_that_are_added_leave_an_index_as_it_is(index, folder):
    for file in (folder / "corpus.jsonl", folder / "qrels" / "test.tsv"):
        file.write_text(file.read_text().replace("d 3", "d3"))
    words = [f"data.collection={folder}", "data.train=null", "data.dev=null"]
    for encoded in ("3", "0"):
        status, _, err = index("data=default", *words)
        assert status == 0, err
        assert f"encoded {encoded} of 3 documents" in err
        (folder / "qrels" / "dl19.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td1\t1\n")
        with (folder / "queries.jsonl").open("a") as file:
            file.write(f'{{"_id": "q9{encoded}", "text": "cats"}}\n')


def test_it_finds_what_evaluation_after_training_finds(limbeck, index, search, tmp_path):
    words = ["name=first", "loss=[kl]", "eval.start=false", "eval.teacher=false", "eval.search_depth=50"]
    words += ["trainer.steps=2", "trainer.validate_every=0"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    (folder,) = tmp_path.glob("runs/first/*")
    status, _, err = index(f"student.folder={folder}", "student=saved")
    assert status == 0, err
    status, out, err = search("depth=50")
    assert status == 0, err
    wanted = read_run(next((folder / "runs").glob("test.student*.trec")))
    found = read_run(tmp_path / "run.trec")
    for query, ranking in wanted.items():
        np.testing.assert_allclose(found[query].scores, ranking.scores, atol=1e-5)
    (row,) = [row for row in json.loads((folder / "result.json").read_text())["rows"] if row["key"] == "student"]
    assert f"{row['ndcg@10']:.4f}"[:5] in out


@pytest.mark.parametrize("kind", ["dense", "multi"])
def test_shares_give_the_same_index_and_the_same_run(index, search, tmp_path, kind):
    status, _, err = index(kind=kind)
    assert status == 0, err
    status, _, err = index("shard=1/3", kind=kind, out="shared")
    assert "encoded 80 of 200 documents" in err
    assert "other shards are missing" in err
    status, _, err = search(index="shared")
    assert status == 2
    assert "shared is not finished; run its limbeck index command again to finish it" in err
    status, _, err = index("-m", "shard=2/3,3/3", kind=kind, out="shared")
    assert status == 0, err
    assert "exact index ready" in err
    assert files(tmp_path / "shared") == files(tmp_path / "index")
    assert (tmp_path / "shared" / "index.json").read_bytes() == (tmp_path / "index" / "index.json").read_bytes()
    for words in ([], ["candidates=bm25", "candidates.depth=30"])[: 2 if kind == "dense" else 1]:
        name = f"{len(words)}"
        assert search("depth=20", *words, out=f"{name}.trec")[0] == 0
        status, out, err = search("depth=20", *words, "shard=2/2", out=f"{name}.shared.trec")
        assert status == 0, err
        assert "1 of 2 parts are there" in err
        assert "ndcg" not in out
        status, _, err = search("depth=21", *words, "shard=1/2", out=f"{name}.shared.trec")
        assert status == 2
        assert "holds parts of another search (they differ in depth)" in err
        status, out, err = search("depth=20", *words, "-m", "shard=1/2,2/2", out=f"{name}.shared.trec")
        assert status == 0, err
        assert "shared.trec is complete: nothing to do for shard=2/2" in err  # it had been searched before
        assert "ndcg@10" in out
        assert (tmp_path / f"{name}.shared.trec").read_bytes() == (tmp_path / f"{name}.trec").read_bytes()
        assert not (tmp_path / f"{name}.shared.trec.parts").exists()


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_first_stage_is_reranked_without_encoding_documents(index, search, tmp_path, kind):
    assert index(kind=kind)[0] == 0
    status, _, err = search("candidates=bm25", "candidates.depth=30", out="reranked.trec")
    assert status == 0, err
    assert re.search(r"re-ranked BM25.* in", err)
    assert "encoding 2" in err or "documents/s" not in err
    assert search("depth=200", "backend=exact", out="all.trec")[0] == 0
    every, reranked = read_run(tmp_path / "all.trec"), read_run(tmp_path / "reranked.trec")
    for query, ranking in reranked.items():
        scores = dict(zip(*every[query], strict=True))
        assert 0 < len(ranking.ids) <= 30
        wanted = [scores.get(name, 0) for name in ranking.ids]
        np.testing.assert_allclose(ranking.scores, wanted, rtol=1e-4, atol=1e-5)
    first = next(iter(reranked))
    (tmp_path / "strange.trec").write_text(f"{first} Q0 nowhere 1 1.0 x\n")
    status, _, err = search("candidates=run", "candidates.file=strange.trec", out="none.trec")
    assert status == 2
    assert "document 'nowhere' of query" in err


def test_what_cannot_be_is_refused_with_what_to_do(index, search, tmp_path):
    for words, kind, told in (
        (["student=cross_encoder"], "dense", "student must encode queries and documents apart"),
        (["backend=inverted"], "multi", "those of this student are multi: choose backend=exact or backend=plaid"),
        (["shard=3/2"], "dense", "shard must be i/n"),
        (["dtype=int8"], "dense", "dtype must be one of float32, float16, got 'int8'"),
        (["backend.probe=0", "backend=faiss"], "dense", "backend.probe must be >= 1 and <= 2147483647, got 0"),
        (["backend.lists=2"], "dense", "backend.lists is no key of the configuration"),
    ):
        status, _, err = index(*words, kind=kind)
        assert status == 2
        assert told in err
    assert not (tmp_path / "index").exists()
    status, _, err = search()
    assert status == 2
    assert "index is no index: it has no index.json; limbeck index" in err
    assert index()[0] == 0
    status, _, err = index("dtype=float16", "student.scale=3", "seed=2")
    assert status == 2
    assert "index holds an index of other settings (they differ in weights, student.scale, dtype)" in err
    for words, told in (
        (["depth=0"], "depth must be >= 1, got 0"),
        (["metrics=[ndgc@10]"], "metrics has 'ndgc@10', which ranx does not know"),
        (["split=validation"], "has no validation split here; it has train, dev, test"),
        (["backend=inverted"], "those of this student are dense: choose backend=exact or backend=faiss"),
        (["shard=x"], "shard must be i/n"),
    ):
        status, _, err = search(*words)
        assert status == 2, words
        assert told in err
    (tmp_path / "run.trec").write_text("mine\n")
    status, _, err = search()
    assert status == 2
    assert "run.trec exists; give another file, or write over it by force=true" in err
    assert (tmp_path / "run.trec").read_text() == "mine\n"
    assert search("force=true")[0] == 0
    meta = json.loads((tmp_path / "index" / "index.json").read_text())
    meta["made_from"]["seed"] = 5
    (tmp_path / "index" / "index.json").write_text(json.dumps(meta))
    status, _, err = search("force=true")
    assert status == 2
    assert "the model that index was built with has changed since" in err


def test_a_killed_search_goes_on_with_the_queries_that_are_left(index, search, tmp_path, monkeypatch):
    """Twenty queries, eight at a time."""
    from limbeck.search import ranking

    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 8)
    assert index()[0] == 0
    status, told, err = search("depth=9", "timed=0", out="whole.trec")
    assert status == 0, err
    assert "0 of 180 documents have the score of the one before them" in err
    rank, ranked = ranking.search, []

    def dies(*given, **options):
        if len(ranked) == 2 and dying:
            raise ValueError("killed")
        ranked.append(len(given[2]))
        return rank(*given, **options)

    monkeypatch.setattr(ranking, "search", dies)
    dying = True
    assert search("depth=9", "timed=0")[0] != 0
    dying = False
    assert not (tmp_path / "run.trec").exists()
    assert ranked == [8, 8]
    status, again, err = search("depth=9", "timed=0")
    assert status == 0, err
    assert ranked == [8, 8, 4]
    assert (tmp_path / "run.trec").read_bytes() == (tmp_path / "whole.trec").read_bytes()
    assert [w for w in again.split() if "trec" not in w] == [w for w in told.split() if "trec" not in w]
    assert not (tmp_path / "run.trec.parts").exists()
    dying, ranked = True, []
    assert search("depth=9", "timed=0", "force=true")[0] != 0
    dying = False
    status, _, err = search("depth=8", "timed=0", "force=true")  # another search begins anew
    assert "the parts there belong to another search and are removed" in err
    assert (status, sum(ranked)) == (0, 16 + 20)


def test_an_index_that_is_one_structure_is_not_searched_by_shards(index, search):
    pytest.importorskip("faiss")
    assert index("backend=faiss", "backend.type=ivf", "backend.lists=4")[0] == 0
    status, _, err = search("shard=1/2")
    assert status == 2
    assert "backend=faiss is one structure with these options; search without shard" in err
    status, _, err = search("backend=faiss", "backend.type=ivf", "backend.lists=5")
    assert status == 2
    assert "has no faiss index of these options" in err
    assert search("backend=faiss", "backend.type=ivf", "backend.lists=4", "backend.probe=1")[0] == 0


def test_a_killed_encoding_goes_on_and_ends_with_the_same_bytes(index, forked, cache, tmp_path):
    words = ["student=dense", *WORLD, *TINY, f"paths.cache={cache}", "shard_size=5"]
    killed = tmp_path / "killed"
    # A model deep enough that the kill comes in the middle.
    deep = ["backbone.layers=12", "backbone.width=64"]
    child = forked.start(["index", *words, f"out={killed}", *deep], tmp_path)
    until = time.monotonic() + 120
    while len(list(killed.glob("shard-*"))) < 3 and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    assert forked.status(child) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in killed.glob("shard-*/*")}
    there = len(list(killed.glob("shard-*")))
    assert 3 <= there < 40
    status, _, err = index(*deep, "shard_size=5", out="killed")
    assert status == 0, err
    assert f"encoded {200 - 5 * there} of 200 documents" in err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert index(*deep, "shard_size=5", out="whole")[0] == 0
    assert files(killed) == files(tmp_path / "whole")
    assert not list(killed.glob(".*unfinished"))
