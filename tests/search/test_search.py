"""Laws of the store and of every backend."""

import importlib.metadata
import importlib.util
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch
from search_worlds import DOCUMENTS, QUERIES, expected, identity, needs_plaid, student, tokenizer, world

from limbeck.amounts import duration
from limbeck.config import ConfigError
from limbeck.encodings import MultiRows, join
from limbeck.evaluation.best import Best
from limbeck.evaluation.ranking import merge
from limbeck.inference import encode
from limbeck.search import clustering
from limbeck.search.backend import build, built, check_kind
from limbeck.search.backend import folder as folder_of
from limbeck.search.encoding import encode_into
from limbeck.search.exact import Exact
from limbeck.search.faiss import Faiss
from limbeck.search.inverted import Inverted, strongest
from limbeck.search.plaid import Plaid
from limbeck.search.ranking import rerank, search
from limbeck.search.shards import Store
from limbeck.search.shares import share
from limbeck.types import Ranking, order, ties

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
EXACT = [
    pytest.param("dense", Exact(), id="exact-dense"),
    pytest.param("sparse", Exact(), id="exact-sparse"),
    pytest.param("multi", Exact(), id="exact-multi"),
    pytest.param("dense", Faiss(), id="faiss-flat", marks=needs_faiss),
    pytest.param("sparse", Inverted(), id="inverted"),
]
APPROXIMATE = [  # with the share of the exact top 20 that must be found
    pytest.param("dense", Faiss(type="ivf", lists=8, probe=4), 0.75, id="faiss-ivf", marks=needs_faiss),
    pytest.param("dense", Faiss(type="ivf", lists=8, probe=8), 1.0, id="faiss-ivf-all-lists", marks=needs_faiss),
    pytest.param("dense", Faiss(type="hnsw"), 0.95, id="faiss-hnsw", marks=needs_faiss),
    pytest.param("sparse", Inverted(document_terms=60, query_terms=60), 0.8, id="inverted-pruned"),
    pytest.param("multi", Plaid(), 0.9, id="plaid", marks=needs_plaid),
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def worlds(tokens, tmp_path_factory):
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = world(kind, tokens, tmp_path_factory.mktemp("index") / kind)
        return made[kind]

    return get


def run(made, backend, depth=20, **options):
    build(backend, made.store)
    return search(backend, made.ranker, made.query_ids, made.queries, made.store, depth, **options)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.npy"))}


def same(found, wanted, atol=1e-4):
    assert list(found) == list(wanted)
    for query, ranking in wanted.items():
        ids, scores = found[query]
        np.testing.assert_allclose(scores, ranking.scores, atol=atol, rtol=1e-4)
        by_id = dict(zip(*ranking, strict=True))
        border = ranking.scores[-1] if len(ranking.ids) else 0
        for name, score in zip(ids, scores, strict=True):  # the order differs only where rounding decides
            assert abs(by_id.get(name, border) - score) < 2 * atol


# -- the best of many ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[100], [1, 99], [30, 30, 40], [10] * 10])
@pytest.mark.parametrize("depth", [1, 7, 99, 100, 130])
def test_the_best_do_not_depend_on_the_cut_and_ties_go_by_id(pieces, depth):
    rng = np.random.default_rng(1)
    names = [f"d{i}" for i in rng.permutation(100)]
    table = torch.from_numpy(rng.integers(0, 12, (5, 100)).astype(np.float32))  # many ties
    table[3] = 4.0
    best = Best(5, depth, lambda rows: [names[row] for row in rows])
    for stop, size in zip(np.cumsum(pieces), pieces, strict=True):
        best.offer(table[:2, stop - size : stop], 0, stop - size)
        best.offer(table[2:, stop - size : stop], 2, stop - size)
    for line, found in zip(table.numpy(), best.rankings(), strict=True):
        wanted = order(names, line, depth)
        assert found.ids == wanted.ids
        np.testing.assert_array_equal(found.scores, wanted.scores)


def test_a_depth_beyond_the_collection_takes_no_memory():
    best = Best(3, 10**9, lambda rows: [f"d{row}" for row in rows])  # 48 GB, if there were as many documents
    for start in range(0, 40, 10):
        best.offer(torch.arange(start, start + 30.0).reshape(3, 10), 0, start)
    found = list(best.rankings())
    assert [len(each.ids) for each in found] == [40, 40, 40]
    assert found[0].ids[0] == "d39"


def test_names_are_asked_only_of_documents_that_may_be_among_the_best():
    asked = []

    def names(rows):
        asked.extend(rows.tolist())
        return [str(row) for row in rows]

    best = Best(1, 3, names)
    scores = np.random.default_rng(0).random(10_000).astype(np.float32)
    for start in range(0, 10_000, 100):
        best.add(np.zeros(100, dtype=np.int64), np.arange(start, start + 100), scores[start : start + 100])
    assert next(best.rankings()).ids == [str(row) for row in np.argsort(-scores)[:3]]
    assert len(asked) < 200


def test_runs_of_shares_merge_as_if_they_were_one():
    one = {"q": Ranking(["b", "a"], np.array([2, 1], dtype=np.float32)), "only": Ranking(["x"], np.ones(1))}
    two = {"q": Ranking(["c", "d"], np.array([2, 1], dtype=np.float32))}
    merged = merge([one, two], 3)
    assert merged["q"].ids == ["c", "b", "d"]
    assert merged["only"].ids == ["x"]


@pytest.mark.parametrize("word", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_share_is_refused(word):
    assert share(None) == (0, 1)
    assert share("2/3") == (1, 3)
    with pytest.raises(ConfigError, match=f"shard must be i/n with i from 1 to n, 2/8 for example, got '{word}'"):
        share(word)


# -- backends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 20, 1000])
@pytest.mark.parametrize(("kind", "backend"), EXACT)
def test_exact_backends_equal_scoring_every_document(kind, backend, depth, worlds):
    made = worlds(kind)
    wanted = expected(made, depth)
    assert max(len(ranking.ids) for ranking in wanted.values()) == min(depth, 230)
    same(run(made, backend, depth), wanted)


@pytest.mark.parametrize(("kind", "backend", "bound"), APPROXIMATE)
def test_approximate_backends_find_most(kind, backend, bound, worlds):
    made = worlds(kind)
    found, wanted = run(made, backend), expected(made, 20)
    assert list(found) == list(wanted)
    assert np.mean([len({*found[q].ids} & {*wanted[q].ids}) / 20 for q in wanted]) >= bound
    for ranking in found.values():
        assert (np.diff(ranking.scores) <= 0).all()


@pytest.mark.parametrize(("kind", "backend"), EXACT)
def test_shares_of_the_shards_merge_to_the_very_same_run(kind, backend, worlds):
    made = worlds(kind)
    whole = run(made, backend)
    shares = [run(made, backend, shards=range(i, len(made.store), 3)) for i in range(3)]
    merged = merge(shares, 20)
    assert list(merged) == list(whole)
    for query, ranking in whole.items():
        assert merged[query].ids == ranking.ids
        np.testing.assert_array_equal(merged[query].scores, ranking.scores)


@pytest.mark.parametrize("kind", ["dense", "sparse", "multi"])
def test_reranking_from_the_store_equals_scoring(kind, worlds):
    made = worlds(kind)
    rng = np.random.default_rng(2)
    candidates = {
        query: order(list(rng.choice(list(DOCUMENTS), 15, replace=False)), rng.random(15))
        for query in made.query_ids[:-1]
    }
    every = {query: dict(zip(*ranking, strict=True)) for query, ranking in expected(made, 230).items()}
    found = rerank(made.ranker, made.query_ids, made.queries, made.store, candidates)
    assert list(found) == made.query_ids[:-1]
    for query, ranking in found.items():
        assert sorted(ranking.ids) == sorted(candidates[query].ids)
        wanted = [every[query].get(name, 0.0) for name in ranking.ids]
        np.testing.assert_allclose(ranking.scores, wanted, atol=1e-4, rtol=1e-4)
    shares = [rerank(made.ranker, made.query_ids, made.queries, made.store, candidates, shards=[i]) for i in range(5)]
    assert {q: r.ids for q, r in merge(shares, None).items()} == {q: r.ids for q, r in found.items()}
    strange = {made.query_ids[0]: Ranking(["d-1", "elsewhere"], np.ones(2, dtype=np.float32))}
    with pytest.raises(ConfigError, match=r"document 'elsewhere' is not in the index .* \(1 such documents\)"):
        rerank(made.ranker, made.query_ids, made.queries, made.store, strange)


def test_a_backend_that_does_not_suit_is_refused_with_those_that_do():
    for backend, kind, able in (
        (Faiss(), "multi", "exact or backend=plaid"),
        (Inverted(), "dense", "exact or backend=faiss"),
        (Plaid(), "sparse", "exact or backend=inverted"),
    ):
        with pytest.raises(ConfigError, match=f"those of this student are {kind}: choose backend={able}"):
            check_kind(backend, kind)
    for kind in ("dense", "sparse", "multi"):
        check_kind(Exact(), kind)


@pytest.mark.parametrize(
    ("option", "value"),
    [("neighbours", 1), ("neighbours", 1025), ("build_width", 2**31), ("width", 2**31), ("lists", 2**31), ("probe", 0)],
)
def test_what_faiss_cannot_hold(option, value):
    """One neighbour would end the process with a signal, and larger numbers overflow in its bindings."""
    with pytest.raises(ValueError, match=rf"^{option} must be >= . and <= \d+, got {value}"):
        Faiss(**{option: value})


@needs_faiss
def test_an_index_is_built_once_and_only_what_it_depends_on_makes_another(worlds):
    made = worlds("dense")
    with pytest.raises(ConfigError, match=r"has no faiss index of these options; build it by .* backend=faiss"):
        search(Faiss(type="ivf", lists=3), made.ranker, made.query_ids, made.queries, made.store, 5)
    folder = build(Faiss(type="ivf", lists=3), made.store)
    before = (folder / "index.faiss").stat().st_mtime_ns
    assert build(Faiss(type="ivf", lists=3, probe=2), made.store) == folder
    assert (folder / "index.faiss").stat().st_mtime_ns == before
    assert not built(Faiss(type="ivf", lists=4), made.store)
    with pytest.raises(ConfigError, match="is one structure"):
        run(made, Faiss(type="ivf", lists=3), shards=[0])


def _told(caplog):
    return [each.getMessage() for each in caplog.records if each.name == clustering.__name__]


@needs_faiss
def test_long_clustering_says_how_long_it_takes_by_its_size(worlds, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(clustering, "_one", lambda centroids, width: 1e-3)
    caplog.set_level("INFO")
    made, rounds = worlds("dense"), 10
    Faiss(type="ivf", lists=3).build(made.store, tmp_path)  # of so few documents, 1 s at most
    assert not _told(caplog)
    monkeypatch.setattr(clustering, "_one", lambda centroids, width: 1.0)
    Faiss(type="ivf", lists=3).build(made.store, tmp_path)
    seconds = min(made.store.documents, 3 * 64) * rounds * 3
    wanted = f"faiss lists of {made.store.path}: 3 centroids, at least {duration(seconds)} without progress messages"
    assert _told(caplog) == [wanted]


def test_pruned_lists_score_by_the_strongest_terms(worlds):
    from scipy import sparse

    made = worlds("sparse")
    documents = join([shard.rows for shard in made.store.shards()])
    tables = [
        strongest(sparse.csr_matrix(encoded.take(slice(None)).numpy()), terms).toarray()
        for encoded, terms in ((made.queries, 8), (documents, 12))
    ]
    assert (tables[1] > 0).sum(1).max() == 12
    table = tables[0] @ tables[1].T * np.float32(made.ranker.scale)
    names = np.array(list(DOCUMENTS))
    wanted = {
        q: order(list(names[line > 0]), line[line > 0], 20) for q, line in zip(made.query_ids, table, strict=True)
    }
    same(run(made, Inverted(document_terms=12, query_terms=8)), wanted)


def test_the_strongest_terms_are_kept():
    from scipy import sparse

    matrix = sparse.csr_matrix(np.array([[3, 1, 0, 2], [0, 0, 0, 0], [1, 1, 1, 5]], dtype=np.float32))
    kept = strongest(matrix, 2).toarray()
    np.testing.assert_array_equal(kept, [[3, 0, 0, 2], [0, 0, 0, 0], [1, 0, 0, 5]])
    assert strongest(matrix, None) is matrix


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Faiss(type="pq"), "type must be flat, ivf or hnsw, got 'pq'"),
        (lambda: Faiss(probe=0), "probe must be >= 1 and <= 2147483647, got 0"),
        (lambda: Inverted(document_terms=0), "document_terms must be >= 1, got 0"),
        (lambda: Plaid(bits=3), "bits must be 1, 2, 4 or 8, got 3"),
        (lambda: Plaid(scored=0), "scored must be >= 1, got 0"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def multi_store(folder, vectors):
    """A store of one shard: vectors of each document."""
    store = Store.open(folder, identity("multi"), {})
    offsets = torch.tensor([0, *np.cumsum([len(each) for each in vectors])])
    store.write(0, [f"d{i}" for i in range(len(vectors))], MultiRows(offsets, torch.cat(vectors)))
    assert store.finish(len(vectors))
    return store


@pytest.mark.parametrize(
    ("width", "factor", "lengths", "told"),
    [
        (12, 1.0, [3, 2], "backend=plaid needs vectors of a multiple of 8 components, student.dimension is 12"),
        (16, 2.0, [3, 2], r"those of this student are not \(student.normalise\)"),
        (16, 1.0, [3, 0, 2], "backend=plaid cannot index document 'd1', which has no vectors"),
        pytest.param(16, 1.0, [3], "backend=plaid could not be built of 1 documents", marks=needs_plaid),
    ],
)
def test_vectors_that_plaid_cannot_hold_are_refused(width, factor, lengths, told, tmp_path):
    draw = torch.Generator().manual_seed(0)
    vectors = [factor * torch.nn.functional.normalize(torch.randn(n, width, generator=draw), dim=1) for n in lengths]
    with pytest.raises(ConfigError, match=told):
        build(Plaid(), multi_store(tmp_path / "index", vectors))


def test_a_fast_plaid_for_another_torch_is_refused_before_it_crashes(monkeypatch):
    monkeypatch.setattr("limbeck.search.plaid.requires", lambda _: ["numpy", "torch==1.0.0"])
    with pytest.raises(ConfigError, match=r"is built for torch 1\.0\.0, and torch is .*; install torch==1\.0\.0"):
        check_kind(Plaid(), "multi")

    def missing(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr("limbeck.search.plaid.requires", missing)
    with pytest.raises(ConfigError, match=r"backend=plaid needs fast-plaid: pip install 'limbeck\[plaid\]'"):
        check_kind(Plaid(), "multi")


# -- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse", "multi"])
def test_a_store_gives_back_what_was_encoded(kind, worlds):
    made = worlds(kind)
    documents = list(DOCUMENTS)
    names, parts = [], []
    for shard in made.store.shards():
        assert shard.start == len(names)
        names += shard.ids.all()
        parts.append(shard.rows)
    assert names == documents
    assert made.store.names(np.array([229, 0, 51])) == ["d-229", "d-0", "d-51"]
    stored = join(parts).arrays()
    for name, value in encode(made.ranker, made.collator, documents, "document").arrays().items():
        torch.testing.assert_close(stored[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "sparse", "multi"])
def test_float16_halves_the_files_and_changes_little(kind, worlds, tokens, tmp_path):
    made, half = worlds(kind), world(kind, tokens, tmp_path / "half", dtype="float16")
    for one, other in zip(made.store.shards(), half.store.shards(), strict=True):
        assert other.rows.arrays()["values"].dtype == torch.float16
        torch.testing.assert_close(
            other.rows.arrays()["values"].float(), one.rows.arrays()["values"], atol=1e-2, rtol=1e-2
        )
    whole = expected(made, 20)
    found = run(half, Exact())
    assert np.mean([len({*found[q].ids} & {*whole[q].ids}) / 20 for q in whole]) > 0.9
    if kind == "sparse":
        same(run(half, Inverted()), run(half, Exact()))
        run(made, Inverted())
        assert_half(made, half, Inverted(), "000000.weights.npy", 128)
    if kind == "dense" and importlib.util.find_spec("faiss"):
        same(run(half, Faiss()), run(half, Exact()))
        for backend in (Faiss(type="ivf", lists=3, probe=3), Faiss(type="hnsw", width=230)):
            same(run(half, backend), run(half, Exact()))
            run(made, backend)
            wide = 230 * 16 * 4  # bytes of the vectors
            sizes = [(folder_of(backend, each.store) / "index.faiss").stat().st_size for each in (made, half)]
            assert sizes[0] - sizes[1] == pytest.approx(wide / 2, rel=0.02)


def assert_half(made, half, backend, name, head):
    one, other = ((folder_of(backend, each.store) / name).stat().st_size - head for each in (made, half))
    assert one == 2 * other > 0


def test_scores_of_float16_tie_and_the_ties_are_counted():
    """Scores between 2048 and 4096 go in steps of 2 where what they are made of is float16."""
    values = torch.arange(2048.0, 2068.0).unsqueeze(1)
    ranked = [order([f"d{i}" for i in range(20)], each.flatten()) for each in (values, values.half().float())]
    assert [ties(ranking) for ranking in ranked] == [0, 9]
    assert ranked[1].ids[2:5] == ["d17", "d16", "d15"]  # 2064 all: by id


def test_shares_give_the_same_bytes_as_one_process(tokens, worlds, tmp_path):
    made = worlds("multi")
    store = Store.open(tmp_path / "shared", identity("multi"), {})
    for i in (2, 0):
        done = encode_into(store, made.ranker, made.collator, DOCUMENTS.items(), share=(i, 3))
        assert not done.finished
    with pytest.raises(ConfigError, match="is not finished; run its limbeck index command again"):
        len(Store(tmp_path / "shared"))
    done = encode_into(store, made.ranker, made.collator, DOCUMENTS.items(), share=(1, 3))
    assert done.finished
    assert done.encoded == 80
    there = {path for path in files(made.store.path) if path.parts[0].startswith("shard")}
    assert files(store.path) == {path: data for path, data in files(made.store.path).items() if path in there}


def test_encoding_goes_on_with_the_first_missing_shard(tokens, tmp_path):
    made, collator = student("dense", tokens)
    store = Store.open(tmp_path / "index", identity("dense"), {})

    def interrupted():
        for number, item in enumerate(DOCUMENTS.items()):
            if number == 130:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        encode_into(store, made, collator, interrupted())
    assert [store.has(i) for i in range(5)] == [True, True, False, False, False]
    (tmp_path / "index" / ".000002.elsewhere.1.unfinished").mkdir()
    others = tmp_path / "index" / ".faiss-0123.elsewhere.1-0.unfinished"  # a process that is further on
    others.mkdir()
    before = files(store.path)
    done = encode_into(Store.open(tmp_path / "index", identity("dense"), {}), made, collator, DOCUMENTS.items())
    assert done.encoded == 130
    assert done.finished
    assert before.items() <= files(store.path).items()
    assert list((tmp_path / "index").glob(".*unfinished")) == [others]
    assert encode_into(store, made, collator, DOCUMENTS.items()).encoded == 0


def test_another_identity_is_refused_with_what_differs(tmp_path):
    Store.open(tmp_path / "index", identity("dense"), {})
    Store.open(tmp_path / "index", identity("dense"), {})
    with pytest.raises(ConfigError, match=r"other settings \(they differ in weights, student\.scale\)"):
        Store.open(tmp_path / "index", identity("dense", weights="x", student={"scale": 2}), {})
    with pytest.raises(ConfigError, match="dtype must be one of float32, float16, got 'int8'"):
        Store.open(tmp_path / "other", identity("dense", dtype="int8"), {})
    with pytest.raises(ConfigError, match="shard_size must be >= 1, got 0"):
        Store.open(tmp_path / "other", identity("dense", shard_size=0), {})


def at_once(count, call):
    """Call a function from so many threads at the same moment; returns what came of it, errors included."""
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        try:
            return call(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("attempt", range(5))
def test_processes_that_start_and_end_at_the_same_moment(attempt, tmp_path):
    path = tmp_path / "deep" / "index"
    stores = at_once(8, lambda _: Store.open(path, identity("dense"), {"seed": 1}))
    assert {type(store) for store in stores} == {Store}
    told = at_once(8, lambda number: stores[number].record(**{f"of_{number}": attempt}))
    assert told == [None] * 8
    meta = Store(path).meta  # what one of them has written, none of the others has taken away
    assert {f"of_{number}" for number in range(8)} < set(meta)
    assert meta["made_from"] == {"seed": 1}


def test_a_shard_that_another_process_wrote_meanwhile_stays(tokens, tmp_path):
    made, collator = student("dense", tokens)
    store = Store.open(tmp_path / "index", identity("dense"), {})
    assert encode_into(store, made, collator, DOCUMENTS.items()).finished
    before = files(store.path)
    shard = store.shard(1)
    told = at_once(4, lambda number: store.write(1, shard.ids.all(), shard.rows))
    assert told == [None] * 4
    assert files(store.path) == before


def test_folders_that_are_no_index_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for name in ("file", "full"):
        with pytest.raises(ConfigError, match="exists and is no index; give another folder"):
            Store.open(tmp_path / name, identity("dense"), {})
    with pytest.raises(ConfigError, match=r"is no index: it has no index.json; limbeck index"):
        Store(tmp_path / "full")
    (tmp_path / "full" / "index.json").write_text('{"form')
    with pytest.raises(ConfigError, match=r"index.json is damaged"):
        Store(tmp_path / "full")
    (tmp_path / "full" / "index.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ConfigError, match="of another version"):
        Store(tmp_path / "full")


@pytest.mark.parametrize(
    ("name", "size"),
    [*product(["values.npy", "shard.json"], [None, 0, 20]), ("offsets.npy", 20), ("ids.npy", None)],
)
def test_a_damaged_shard_is_named(name, size, tokens, tmp_path):
    world("sparse", tokens, tmp_path / "index")
    damage(tmp_path / "index" / "shard-000002" / name, size)
    made, collator = student("sparse", tokens)
    queries = encode(made, collator, list(QUERIES), "query")
    with pytest.raises(
        ConfigError, match=r"shard-000002 cannot be read .*; delete it and run the limbeck index command"
    ):
        search(Exact(), made, list(QUERIES), queries, Store(tmp_path / "index"), 20)


@pytest.mark.parametrize(
    ("kind", "backend", "name", "size"),
    [
        *(("sparse", Inverted(), "000001.weights.npy", size) for size in (None, 0, 20)),
        ("sparse", Inverted(), "000001.starts.npy", 20),
        *(
            pytest.param("dense", Faiss(type="ivf", lists=3), "index.faiss", size, marks=needs_faiss)
            for size in (None, 0, 20)
        ),
        pytest.param("dense", Faiss(type="hnsw"), "index.faiss", 20, marks=needs_faiss),
    ],
)
def test_a_damaged_index_is_named(kind, backend, name, size, tokens, tmp_path):
    made = world(kind, tokens, tmp_path / "index")
    folder = build(backend, made.store)
    damage(folder / name, size)
    with pytest.raises(ConfigError, match=rf"{folder.name} cannot be read .*; delete it and run the limbeck index"):
        run(made, backend)


def damage(path, size):
    content = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(content[:size])


@pytest.mark.parametrize("kind", ["dense", "sparse", "multi"])
@torch.inference_mode()
def test_encodings_that_are_no_numbers_are_refused(kind, tokens, worlds, tmp_path):
    """A score that is NaN would fall out of the ranking without a word."""
    made, collator = student(kind, tokens)
    store = Store.open(tmp_path / "index", identity(kind), {})
    encoded = encode(made, collator, ["d-4", "d-7"], "document")
    encoded.arrays()["values"][-1] = torch.nan
    with pytest.raises(ConfigError, match="student: its encoding of document 'd-7' is no finite number"):
        store.write(0, ["d-4", "d-7"], encoded)
    encoded.arrays()["values"][-1] = 1e6
    store.write(0, ["d-4", "d-7"], encoded)
    half = Store.open(tmp_path / "half", identity(kind, dtype="float16"), {})
    with pytest.raises(ConfigError, match=r"float16 cannot hold .* of document 'd-7'; choose dtype=float32"):
        half.write(0, ["d-4", "d-7"], encoded)
    assert not half.has(0)
    world_ = worlds(kind)
    queries = encode(world_.ranker, world_.collator, world_.query_ids, "query")
    queries.arrays()["values"][0] = torch.inf
    with pytest.raises(ConfigError, match="student: its encoding of query 'q0' is no finite number"):
        search(Exact(), world_.ranker, world_.query_ids, queries, world_.store, 5)
    candidates = {"q3": Ranking(["d-1"], np.ones(1, dtype=np.float32))}
    with pytest.raises(ConfigError, match="query 'q0' is no finite number"):
        rerank(world_.ranker, world_.query_ids, queries, world_.store, candidates)


def test_bad_collections_are_refused(tokens, tmp_path):
    made, collator = student("dense", tokens)
    store = Store.open(tmp_path / "index", identity("dense"), {})
    with pytest.raises(ConfigError, match="has no documents"):
        encode_into(store, made, collator, [])
    for name in ("a b", "b\t", ""):
        with pytest.raises(ConfigError, match=f"the document id {name!r} is empty or has white".replace("\\", "\\\\")):
            encode_into(store, made, collator, [("a", "x"), (name, "y")])
    with pytest.raises(ConfigError, match="the document id 'a' appears twice"):
        encode_into(store, made, collator, [("a", "x"), ("b", "y"), ("a", "z")])
