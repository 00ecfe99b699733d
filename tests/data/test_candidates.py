"""Sources of candidates: run files, encoders, fusions."""

import bz2
import gzip
import hashlib
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.bm25 import BM25
from limbeck.data.candidates import Search, find, inputs
from limbeck.data.columns import Texts
from limbeck.data.fusion import Fusion
from limbeck.data.opening import Data
from limbeck.data.run import RunFiles
from limbeck.evaluation.array_run import ArrayRun
from limbeck.evaluation.fusion import reciprocal_rank_fusion
from limbeck.evaluation.ranking import Asked, search_together
from limbeck.evaluation.runs import write_run
from limbeck.experiment import assemble
from limbeck.search.shards import Store
from limbeck.types import Ranking, order

TINY = {
    "_target_": "backbone/tiny", "vocab_size": 300, "width": 16, "layers": 1, "heads": 2, "untrained": True
}  # fmt: skip
STUDENT = {"_target_": "student/dense", "query_length": 8, "document_length": 12}
DENSE = {"_target_": "candidates/dense", "student": STUDENT, "backbone": TINY}
CPU = torch.device("cpu")


@pytest.fixture
def search(folder, artefacts):
    """Thirty documents; a query that is a document, and one that is not."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(30)]
    (folder / "corpus.jsonl").write_text(
        "".join(f'{{"_id": "d{i}", "text": "{text}"}}\n' for i, text in enumerate(texts))
    )
    (folder / "queries.jsonl").write_text(
        f'{{"_id": "d3", "text": "{texts[3]}"}}\n{{"_id": "q", "text": "{" ".join(words[:6])}"}}\n'
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nd3\td1\t1\nq\td2\t1\n")
    return Search(Data(collection=str(folder), train=None, dev=None).open(artefacts), "test", artefacts)


@pytest.fixture
def dropping(search, folder):
    """The same, told that queries are documents."""
    data = Data(collection=str(folder), train=None, dev=None, drop_self=True)
    return Search(data.open(search.artefacts), "test", search.artefacts)


def seeded(node, **options):
    torch.manual_seed(1)
    return assemble.candidates({**node, **options}, CPU)


def test_rankings_are_kept_by_all_they_depend_on(search, dropping, monkeypatch):
    lengths = [len(find(BM25(depth=depth), search)["q"].ids) for depth in (9, 4)]
    assert lengths == [9, 4]
    assert "d3" in find(BM25(depth=9), search)["d3"].ids
    assert "d3" not in find(BM25(depth=9), dropping)["d3"].ids
    monkeypatch.setattr(BM25, "search", None)
    assert len(find(BM25(depth=4), search)["q"].ids) == 4  # from the cache


def test_rankings_are_kept_block_by_block_and_a_kill_costs_the_block_at_work(search, folder, monkeypatch):
    """Ten queries, three at a time: an error in the third block leaves two, and only two more are ranked after it."""
    ids = [f"q{i}" for i in range(10)]
    (folder / "queries.jsonl").write_text(
        "".join(f'{{"_id": "{q}", "text": "w{i} w{i + 9}"}}\n' for i, q in enumerate(ids))
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\td1\t1\n" for q in ids))
    collection = Data(collection=str(folder), train=None, dev=None).open(search.artefacts)
    search = Search(collection, "test", search.artefacts)
    whole = BM25(depth=4).search(search)
    ranked = []
    rank = BM25.search

    def dies(self, block):
        found = rank(self, block)
        if len(ranked) == 2 and dying:
            raise KeyboardInterrupt
        ranked.append(block.what)
        return found

    monkeypatch.setattr(BM25, "search", dies)
    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 3)
    dying = True
    with pytest.raises(KeyboardInterrupt):
        find(BM25(depth=4), search)
    dying = False
    found = find(BM25(depth=4), search)
    places = ("1 to 3", "4 to 6", "7 to 9", "10 to 10")
    assert ranked == [f"test queries {each} of 10" for each in places]
    assert len(list(search.artefacts.root.glob("candidates/*/candidates.arrow"))) == 4
    for name, run in (("found", found), ("whole", whole)):
        write_run(folder / name, run, "candidates")
    assert (folder / "found").read_bytes() == (folder / "whole").read_bytes()


def add(search, queries):
    split = search.collection.split("test")
    split.queries = Texts.of([*split.queries.items(), *queries.items()])


def test_as_many_queries_are_ranked_together_as_take_some_minutes(search, monkeypatch):
    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 8)
    add(search, {f"more{i}": "w1" for i in range(5)})
    for pairs, sizes in ((math.inf, [7]), (30 * 4, [4, 3]), (30 * 3, [2, 2, 2, 1]), (1, [1] * 7)):
        assert [len(block.queries) for block in search.blocks(pairs)] == sizes


def test_a_fusion_is_ranked_block_by_block_and_its_parts_once(search, monkeypatch):
    add(search, {f"more{i}": f"w{i} w{i + 9}" for i in range(5)})
    whole = Fusion({"one": BM25(depth=5), "other": BM25(depth=9, b=0.0)}).search(search)
    monkeypatch.setattr("limbeck.data.candidates.BLOCK", 3)
    rank, ranked = BM25.search, []
    monkeypatch.setattr(BM25, "search", lambda self, block: ranked.append(block.what) or rank(self, block))
    found = find(Fusion({"one": BM25(depth=5), "other": BM25(depth=9, b=0.0)}), search)
    assert len(ranked) == 6
    assert list(found) == list(whole)
    for query, ranking in whole.items():
        assert found[query].ids == ranking.ids
        np.testing.assert_array_equal(found[query].scores, ranking.scores)


# -- reciprocal rank fusion --------------------------------------------------------------------------------------------


def random_runs(seed, queries=8, systems=3):
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(systems):
        run = {}
        for q in range(queries):
            if rng.random() < 0.8:
                found = [f"d{i}" for i in rng.choice(60, int(rng.integers(1, 30)), replace=False)]
                run[f"q{q}"] = order(found, rng.permutation(len(found)).astype(np.float32))
        runs.append(run)
    return runs


def test_fusion_equals_a_computation_by_hand():
    """Cormack et al. 2009, k = 60: a stands first and second, b second and nowhere, c nowhere and first."""
    one = {"q": Ranking(["a", "b"], np.array([9.0, 1.0]))}
    other = {"q": Ranking(["c", "a"], np.array([0.2, 0.1])), "only": Ranking(["z"], np.array([1.0]))}
    fused = reciprocal_rank_fusion([one, other])
    assert fused["q"].ids == ["a", "c", "b"]
    expected = [1 / 61 + 1 / 62, 1 / 61, 1 / 62]
    np.testing.assert_allclose(fused["q"].scores, expected, rtol=1e-6)
    assert fused["only"].ids == ["z"]
    weighted = reciprocal_rank_fusion([one, other], [3.0, 1.0], k=0)
    assert weighted["q"].ids == ["a", "b", "c"]
    np.testing.assert_allclose(weighted["q"].scores, [3 / 1 + 1 / 2, 3 / 2, 1.0], rtol=1e-6)


@pytest.mark.parametrize("k", [60, 5])
def test_fusion_equals_ranx(k):
    import ranx

    for seed in range(4):
        runs = random_runs(seed)
        queries = set.intersection(*(set(run) for run in runs))  # ranx wants the same queries in each
        runs = [{query: run[query] for query in sorted(queries)} for run in runs]
        as_dicts = [
            ranx.Run({q: dict(zip(r.ids, map(float, r.scores), strict=True)) for q, r in run.items()}) for run in runs
        ]
        theirs = ranx.fuse(runs=as_dicts, norm=None, method="rrf", params={"k": k}).to_dict()
        ours = reciprocal_rank_fusion(runs, k=k)
        assert set(ours) == set(theirs)
        for query, ranking in ours.items():
            assert set(ranking.ids) == set(theirs[query])
            np.testing.assert_allclose(ranking.scores, [theirs[query][d] for d in ranking.ids], rtol=1e-6)


def test_equal_ranks_in_another_order_tie_exactly():
    runs = [{"q": Ranking(list(ids), -np.arange(3.0))} for ids in ("abc", "bca", "cab")]
    fused = reciprocal_rank_fusion(runs)["q"]
    assert fused.ids == ["c", "b", "a"]
    assert len(set(fused.scores.tolist())) == 1


def test_a_fusion_fuses_what_its_parts_find_each_at_its_own_depth(search):
    parts = {"words": BM25(depth=5), "letters": BM25(depth=9, stemmer=None, k1=2.0)}
    fusion = Fusion(parts, weights={"letters": 2})
    runs = [part.search(search) for part in parts.values()]
    found = fusion.search(search)
    expected = reciprocal_rank_fusion(runs, [1.0, 2.0])
    for query in search.queries:
        assert found[query].ids == expected[query].ids
        assert set(found[query].ids) == set(runs[0][query].ids) | set(runs[1][query].ids)
        assert Fusion(parts, weights={"letters": 2}, depth=3).search(search)[query].ids == found[query].ids[:3]
    kept = {path.parent.name for path in search.artefacts.root.glob("candidates/*/candidates.arrow")}
    assert len(kept) == 2  # of the parts, to be used alone or in another fusion
    assert find(parts["words"], search)["q"].ids == runs[0]["q"].ids


def test_a_fusion_drops_the_query_before_it_counts_ranks(search, dropping):
    parts = {"one": BM25(depth=30), "other": BM25(depth=30, b=0.0)}
    plain, dropped = (Fusion(parts).search(one)["d3"] for one in (search, dropping))
    assert plain.ids[0] == "d3"
    assert "d3" not in dropped.ids
    assert float(dropped.scores[0]) <= 2 / 61
    runs = [{q: Ranking([d for d in r.ids if d != q], r.scores) for q, r in p.search(search).items()}
            for p in parts.values()]  # fmt: skip
    runs = [{q: Ranking(r.ids, np.arange(len(r.ids), 0, -1.0)) for q, r in run.items()} for run in runs]
    assert dropped.ids == reciprocal_rank_fusion(runs)["d3"].ids


def test_queries_that_are_documents_are_told_of(search, dropping, folder, caplog):
    def told(given):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            find(BM25(depth=9), given)
        return "data.drop_self=true" in caplog.text

    assert not told(search)  # one of two queries is no document
    lines = (folder / "queries.jsonl").read_text().splitlines()
    (folder / "queries.jsonl").write_text(lines[0] + "\n")
    for drop_self in (False, True):
        data = Data(collection=str(folder), train=None, dev=None, drop_self=drop_self)
        assert told(Search(data.open(search.artefacts), "test", search.artefacts)) != drop_self


def test_fusions_refuse_what_is_no_fusion():
    parts = {"a": BM25(), "b": BM25(depth=2)}
    for options, message in [
        ({"weights": {"c": 1}}, r"weights\.c names no part; the parts are a, b"),
        ({"weights": {"a": 0}}, r"weights\.a must be a number > 0, got 0"),
        ({"weights": {"a": "x"}}, r"weights\.a must be a number"),
        ({"k": -1}, "k must be >= 0"),
        ({"depth": 0}, "depth must be >= 1"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            Fusion(parts, **options)
    with pytest.raises(ValueError, match=r"^parts must be at least two candidates, got a"):
        Fusion({"a": BM25()})
    node = {"_target_": "candidates/fusion", "parts": {"x": {"_target_": "candidates/bm25", "b": 9}}}
    with pytest.raises(ConfigError, match=r"^candidates\.parts\.x\.b must be in \[0, 1\]"):
        assemble.candidates(node, CPU)


# -- run files ---------------------------------------------------------------------------------------------------------


def test_run_files_come_back_as_they_are(search, dropping, tmp_path):
    run = BM25(depth=20).search(search)
    write_run(tmp_path / "a.trec", run, "x")
    source = RunFiles(file=str(tmp_path / "a.trec"))
    found = find(source, search)
    assert {query: ranking.ids for query, ranking in found.items()} == {q: r.ids for q, r in run.items()}
    for query in run:
        np.testing.assert_array_equal(found[query].scores, run[query].scores)
    write_run(tmp_path / "b.trec", found, "x")
    assert (tmp_path / "b.trec").read_bytes() == (tmp_path / "a.trec").read_bytes()
    assert not list(search.artefacts.root.glob("candidates/*"))  # a file is not kept a second time
    told = inputs(source, search)
    assert told["sha256"] == hashlib.sha256((tmp_path / "a.trec").read_bytes()).hexdigest()
    assert RunFiles(file=str(tmp_path / "a.trec"), depth=3).search(search)["q"].ids == run["q"].ids[:3]
    others = [document for document in run["d3"].ids if document != "d3"]
    assert RunFiles(file=str(tmp_path / "a.trec"), depth=3).search(dropping)["d3"].ids == others[:3]


def test_each_split_has_its_file(tmp_path, search):
    for name in ("one", "two"):
        (tmp_path / f"{name}.trec").write_text(f"q Q0 d1 1 2.0 {name}\nd3 Q0 {'d1' if name == 'one' else 'd2'} 1 1 x\n")
    one, two = str(tmp_path / "one.trec"), str(tmp_path / "two.trec")
    assert RunFiles(file=one, test=two).search(search)["d3"].ids == ["d2"]
    assert [RunFiles(**given).name for given in ({"file": one}, {"file": one, "test": two})] == ["one", "run"]
    assert RunFiles(file=one, name="BM25").label == "BM25"
    assert RunFiles(file=one, train=two).search(search)["d3"].ids == ["d1"]
    with pytest.raises(ConfigError, match=r"candidates\.test must be given"):
        RunFiles(train=one).search(search)
    held_out = Search(search.collection, "dev", search.artefacts)
    search.collection.splits["dev"] = search.collection.splits["test"]
    assert RunFiles(train=one).search(held_out)["d3"].ids == ["d1"]
    assert RunFiles(train=one, file=two).search(held_out)["d3"].ids == ["d2"]


def test_ranks_instead_of_scores(tmp_path, search):
    path = tmp_path / "a.trec"
    path.write_text("q Q0 d1 2 9.0 x\nq Q0 d2 1 8.0 x\nq Q0 d4 3 8.5 x\nd3 Q0 d5 1 1 x\n")
    assert RunFiles(file=str(path)).search(search)["q"].ids == ["d1", "d4", "d2"]
    by_rank = RunFiles(file=str(path), use="ranks")
    assert by_rank.search(search)["q"].ids == ["d2", "d1", "d4"]
    assert inputs(by_rank, search) != inputs(RunFiles(file=str(path)), search)
    write_run(tmp_path / "b.trec", by_rank.search(search), "x")  # as limbeck mine writes it
    assert RunFiles(file=str(tmp_path / "b.trec")).search(search)["q"].ids == ["d2", "d1", "d4"]
    path.write_text("q Q0 d1 first 9.0 x\n")
    with pytest.raises(ConfigError, match=r"a\.trec:1: expected six columns with a whole rank in the fourth"):
        by_rank.search(search)
    with pytest.raises(ValueError, match=r"^use must be scores or ranks, got 'rank'"):
        RunFiles(file=str(path), use="rank")


def test_compressed_run_files_are_read_as_they_are(tmp_path, search):
    text = b"q Q0 d1 1 9.0 x\nd3 Q0 d5 1 1 x\n"
    for name, data in (("a.trec.gz", gzip.compress(text)), ("a.trec.bz2", bz2.compress(text))):
        (tmp_path / name).write_bytes(data)
        assert RunFiles(file=str(tmp_path / name)).search(search)["q"].ids == ["d1"]
        (tmp_path / name).write_bytes(data[:-9])
        with pytest.raises(ConfigError, match="the file is damaged or was not downloaded whole"):
            RunFiles(file=str(tmp_path / name)).search(search)


def test_mistakes_in_run_files_are_named(tmp_path, search, caplog):
    path = tmp_path / "a.trec"

    def source(text):
        path.write_text(text)
        return RunFiles(file=str(path))

    with pytest.raises(ConfigError, match=r"a\.trec:2: expected six columns"):
        source("q Q0 d1 1 2.0 x\nq Q0 d2 2\n").search(search)
    with pytest.raises(ConfigError, match=r"a\.trec:2: document d1 appears twice"):
        source("q Q0 d1 1 2.0 x\nq Q0 d1 2 1.0 x\n").search(search)
    with pytest.raises(ConfigError, match=r"a\.trec:1: expected six columns with a finite score"):
        source("q Q0 d1 1 nan x\n").search(search)
    with pytest.raises(ConfigError, match=r"a\.trec: document 'foreign' of query 'q' is not in the collection"):
        source("q Q0 d1 1 2.0 x\nq Q0 foreign 2 1.0 x\n").search(search)
    with pytest.raises(ConfigError, match=r"has none of the 2 test queries .*e\.g\. 'd3'"):
        source("other Q0 d1 1 2.0 x\n").search(search)
    with caplog.at_level(logging.WARNING):
        assert list(source("q Q0 d1 1 2.0 x\nother Q0 foreign 1 1 x\n").search(search)) == ["q"]
    assert "has no candidates for 1 of 2 test queries: d3" in caplog.text
    with pytest.raises(ValueError, match=r"^file must be given"):
        RunFiles()
    with pytest.raises(ValueError, match=r"^train must be a TREC run file; .*no\.trec does not exist"):
        RunFiles(train=str(tmp_path / "no.trec"))


def test_real_run_files(shared, artefacts):
    """DL19 candidates of a real system over the collection that holds them."""
    folder = shared / "msmarco-dl"
    collection = Data(collection=str(folder), train=None, dev="dev", test=None).open(artefacts)
    found = RunFiles(file=str(folder / "runs" / "tasb.dl19.trec")).search(Search(collection, "dev", artefacts))
    assert len(found) == 43
    assert {len(ranking.ids) for ranking in found.values()} == {100}


# -- encoders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_dense_candidates_equal_brute_force(search, similarity):
    options = {"student": {**STUDENT, "similarity": similarity}, "depth": 7}
    source = seeded(DENSE, **options)
    found = find(source, search)
    torch.manual_seed(1)
    model, collator = assemble.ranker(options["student"], TINY, search.collection, search.artefacts)
    model.eval()
    ids = search.collection.document_ids
    with torch.inference_mode():
        documents = [model.encode(collator.pad(collator.document_rows([d]), "document"), "document") for d in ids]
        for query in search.queries:
            embedded = model.encode(collator.pad(collator.query_rows([query]), "query"), "query")
            scores = {d: float(model.similarity(embedded, e)) for d, e in zip(ids, documents, strict=True)}
            best = sorted(scores, key=lambda d: scores[d], reverse=True)[:7]
            assert found[query].ids == best
            np.testing.assert_allclose(found[query].scores, [scores[d] for d in best], rtol=1e-4, atol=1e-4)


@pytest.fixture
def encoded(monkeypatch):
    """Documents are encoded eleven at a time; how many each time."""
    from limbeck.search import encoding

    monkeypatch.setattr("limbeck.data.embeddings.BLOCK", 11)
    counted, real = [], encoding.encode

    def count(ranker, collator, ids, role, **options):
        if len(ids) > 1:  # the first alone shows how large all are
            counted.append(len(ids))
        return real(ranker, collator, ids, role, **options)

    monkeypatch.setattr(encoding, "encode", count)
    return counted


def test_a_collection_is_encoded_once_for_all_searches(search, encoded):
    first = find(seeded(DENSE, depth=4), search)
    assert encoded == [11, 11, 8]
    deeper = find(seeded(DENSE, depth=9), search)
    assert len(encoded) == 3
    assert all(deeper[query].ids[:4] == ranking.ids for query, ranking in first.items())
    again = find(seeded(DENSE, depth=9, bf16=True), search)  # other embeddings
    assert len(encoded) == 6
    assert len(again["q"].ids) == 9


def test_a_killed_encoding_goes_on_where_it_was(search, encoded, monkeypatch):
    write = Store.write

    def dies(self, number, *given):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, *given)

    monkeypatch.setattr(Store, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        find(seeded(DENSE, depth=9), search)
    monkeypatch.setattr(Store, "write", write)
    encoded.clear()
    find(seeded(DENSE, depth=9), search)
    assert encoded == [8]
    (kept,) = search.artefacts.root.glob("embeddings/*/index.json")
    vectors = np.concatenate([shard.rows.arrays()["values"] for shard in Store(kept.parent).shards()])
    other = Search(search.collection, "test", Artefacts(search.artefacts.root.with_name("other")))
    find(seeded(DENSE, depth=9), other)
    (whole,) = other.artefacts.root.glob("embeddings/*/index.json")
    expected = np.concatenate([shard.rows.arrays()["values"] for shard in Store(whole.parent).shards()])
    np.testing.assert_array_equal(vectors, expected)


@pytest.mark.parametrize("kind", ["dense", "splade", "colbert"])
def test_embeddings_in_float16_take_half_and_change_little(search, kind):
    student = {"_target_": f"student/{kind}", "query_length": 8, "document_length": 12}
    found, other = (
        find(seeded(DENSE, student=student, depth=9, dtype=dtype), search) for dtype in ("float32", "float16")
    )
    sizes = {
        json.loads((path.parent.parent / "index.json").read_text())["identity"]["dtype"]: path.stat().st_size - 128
        for path in search.artefacts.root.glob("embeddings/*/shard-000000/values.npy")
    }
    assert sizes["float32"] == 2 * sizes["float16"]
    for query, ranking in found.items():
        scores = dict(zip(ranking.ids, ranking.scores.tolist(), strict=True))
        near = {d: score for d, score in zip(*other[query], strict=True) if d in scores}
        assert len(near) >= 8
        assert all(abs(scores[d] - score) <= 2**-10 * max(map(abs, scores.values())) for d, score in near.items())
    assert any((found[query].scores != other[query].scores).any() for query in found)
    torch.manual_seed(1)
    model, collator = assemble.ranker(student, TINY, search.collection, search.artefacts)
    ids, asked = search.collection.document_ids, [Asked(collator, list(search.queries))]
    (evaluated,) = search_together(model.eval(), asked, ids, 9, dtype="float16", names=ids.take)
    for query, ranking in other.items():  # as evaluation has them
        np.testing.assert_allclose(ranking.scores, evaluated[query].scores[: len(ranking.ids)], rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match=r"^candidates\.dtype must be one of float32, float16, got 'int8'"):
        seeded(DENSE, dtype="int8")


def test_an_encoder_is_known_by_its_weights(search):
    told = inputs(seeded(DENSE), search)  # the weights are drawn when they are first needed
    assert inputs(seeded(DENSE), search) == told
    torch.manual_seed(2)
    other = inputs(assemble.candidates(DENSE, CPU), search)
    assert [key for key in told if told[key] != other[key]] == ["weights"]


def test_an_encoder_drops_the_query_itself_and_keeps_the_depth(search, dropping):
    student = {**STUDENT, "query_length": 12, "similarity": "cosine"}  # as long as documents: itself comes first
    node = {**DENSE, "student": student, "depth": 5}
    plain, dropped = (seeded(node).search(one) for one in (search, dropping))
    assert plain["d3"].ids[0] == "d3"
    assert dropped["d3"].ids[:4] == plain["d3"].ids[1:]
    assert len(dropped["d3"].ids) == 5
    assert dropped["q"].ids == plain["q"].ids


def test_only_rankers_that_encode_apart_search():
    node = {**DENSE, "student": {"_target_": "student/cross_encoder"}}
    with pytest.raises(ConfigError, match=r"^candidates\.student must encode queries and documents apart"):
        assemble.candidates(node, CPU)


def test_a_fusion_of_words_and_an_encoder(search):
    node = {
        "_target_": "candidates/fusion",
        "parts": {"bm25": {"_target_": "candidates/bm25", "depth": 6}, "dense": {**DENSE, "depth": 6}},
    }
    source = seeded(node)
    assert source.name == "RRF(BM25, dense)"
    found = find(source, search)
    runs = [find(part, search) for part in (BM25(depth=6), source._parts["dense"])]
    for query in search.queries:
        shares = {}
        for run in runs:
            for rank, document in enumerate(run[query].ids, 1):
                shares[document] = shares.get(document, 0) + 1 / (60 + rank)
        assert set(found[query].ids) == set(shares)
        assert all(
            math.isclose(float(score), shares[d], rel_tol=1e-6)
            for d, score in zip(found[query].ids, found[query].scores, strict=True)
        )
    (kept,) = [path for path in Path(search.artefacts.root).glob("candidates/*/candidates.arrow")
               if len(ArrayRun.mapped([path])["q"].ids) > 6]  # fmt: skip
    assert ArrayRun.mapped([kept])["q"].ids == found["q"].ids
