"""The score store: what goes in comes out, whatever the ids, the order and the blocks; what is wrong is named."""

import json
import math
import random
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.scores import keys as keys_module
from limbeck.scores import parts as parts_module
from limbeck.scores.keys import key, key_list, keys, texts
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance, StoreWriter, write_store

WHO = Provenance("a teacher", "logit", command="limbeck import")


def pairs(seed=0, count=600):
    rng = random.Random(seed)
    queries = [str(rng.randrange(40)) if rng.random() < 0.5 else f"query é {rng.randrange(20)}" for _ in range(count)]
    documents = [str(rng.randrange(10**12)) if rng.random() < 0.5 else f"00{rng.randrange(90)}" for _ in range(count)]
    return {pair: rng.gauss(0, 5) for pair in zip(queries, documents, strict=True)}


def blocks_of(wanted, size=100, dtype=np.float32):
    rows = [(query, document, score) for (query, document), score in wanted.items()]
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    for part in parts:
        queries, documents, scores = zip(*part, strict=True)
        yield lambda q=queries, d=documents, s=scores: Block(list(q), list(d), np.array(s, dtype=dtype))


def content(store):
    return {
        (query, document): score
        for query, documents, scores, _ in store
        for document, score in zip(documents, scores.tolist(), strict=True)
    }


@pytest.fixture
def small_ranges(monkeypatch):
    monkeypatch.setattr(parts_module, "RANGE", 50)


@pytest.mark.usefixtures("small_ranges")
def test_what_goes_in_comes_out(tmp_path):
    wanted = pairs()
    store = write_store(tmp_path / "store", blocks_of(wanted, dtype=np.float64), WHO)
    assert content(store) == wanted
    assert len(store) == len(wanted)
    assert store.meta["batches"] > 3
    assert store.query_ids() == list(dict.fromkeys(query for query, _ in wanted))
    store.verify()


@pytest.mark.usefixtures("small_ranges")
def test_lookup_of_lists_one_by_one_and_all_at_once(tmp_path):
    wanted = pairs()
    store = write_store(tmp_path / "store", blocks_of(wanted), WHO)
    rng = random.Random(1)
    queries = [*store.query_ids(), "no such query", "7000"]
    lists = [
        rng.sample([document for _, document in wanted], 6) + [document for q, document in wanted if q == query][:4]
        for query in queries
    ]
    expected = [[wanted.get((q, d), math.nan) for d in documents] for q, documents in zip(queries, lists, strict=True)]
    for query, documents, scores in zip(queries, lists, expected, strict=True):
        np.testing.assert_array_equal(store.lookup(query, documents), np.array(scores, dtype=np.float32))
    offsets = np.cumsum([0, *map(len, lists)])
    flat = store.lookup_many(queries, offsets, pa.array([document for documents in lists for document in documents]))
    np.testing.assert_array_equal(flat, np.array(list(chain(*expected)), dtype=np.float32))
    assert np.isfinite(flat).any()
    assert np.isnan(flat).any()


@pytest.mark.usefixtures("small_ranges")
def test_content_does_not_depend_on_blocks_order_or_threads(tmp_path):
    wanted = pairs()
    shuffled = list(wanted.items())
    random.Random(2).shuffle(shuffled)
    one = write_store(tmp_path / "one", blocks_of(wanted), WHO)
    other = write_store(tmp_path / "other", blocks_of(dict(shuffled), size=37), WHO, threads=1)
    assert one.checksum == other.checksum
    changed = {**wanted, shuffled[0][0]: 0.5}
    assert write_store(tmp_path / "third", blocks_of(changed), WHO).checksum != one.checksum


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39, -1e39])
def test_scores_that_are_not_finite_where_they_are_read_are_refused(tmp_path, score):
    """A float64 beyond float32 is finite in the store and infinite for the student."""
    block = Block(["q", "q"], ["a", "b"], np.array([1.0, score]))
    with pytest.raises(
        ConfigError, match=r"the score of query 'q', document 'b' is .*; a score must be a finite number"
    ):
        write_store(tmp_path / "store", [lambda: block], WHO)
    largest = Block(["q", "q"], ["a", "b"], np.array([3.4e38, -3.4e38]))
    assert np.isfinite(write_store(tmp_path / "store", [lambda: largest], WHO).lookup("q", ["a", "b"])).all()


def test_a_pair_that_comes_twice(tmp_path):
    def twice(second):
        first = Block(["q", "q"], ["a", "b"], np.array([1.0, 2.0]))
        return [lambda: first, lambda: Block(["q"], ["a"], np.array([second]))]

    store = write_store(tmp_path / "same", twice(1.0 + 1e-5), WHO)
    assert content(store) == {("q", "a"): 1.0, ("q", "b"): 2.0}
    assert store.meta["merged"] == 1
    with pytest.raises(
        ConfigError, match=r"query 'q', document 'a' has different scores, from 1 to 3.*duplicates=first"
    ):
        write_store(tmp_path / "differ", twice(3.0), WHO)
    kept = write_store(tmp_path / "differ", twice(3.0), WHO, duplicates="first")
    assert content(kept)["q", "a"] == 1.0


def test_first_is_the_first_in_file_order_within_a_block_too(tmp_path):
    count = 5000
    scores = np.arange(count, dtype=np.float32)
    documents = np.arange(count, dtype=np.int64) % 7
    block = Block(np.full(count, 3, dtype=np.int64), documents, scores)
    store = write_store(tmp_path / "store", [lambda: block], WHO, duplicates="first")
    assert content(store) == {("3", str(document)): float(document) for document in range(7)}


def test_ranks_are_kept_and_order_the_ranking(tmp_path):
    block = Block(["q"] * 3, ["a", "b", "c"], np.array([0.1, 0.3, 0.2]), np.array([2, 3, 1], dtype=np.int32))
    documents, scores, ranks = write_store(tmp_path / "store", [lambda: block], WHO).ranking("q")
    assert (documents, scores.tolist(), ranks.tolist()) == (["c", "a", "b"], [0.2, 0.1, 0.3], [1, 2, 3])
    plain = Block(["q"] * 3, ["a", "b", "c"], np.array([0.1, 0.3, 0.3]))
    assert write_store(tmp_path / "plain", [lambda: plain], WHO).ranking("q")[0] == ["c", "b", "a"]
    with pytest.raises(ConfigError, match="some pairs have ranks"):
        write_store(tmp_path / "mixed", [lambda: block, lambda: plain._replace(queries=["p"] * 3)], WHO)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_named(tmp_path, value):
    block = Block(["q", "q 2"], ["a", "b"], np.array([1.0, value]))
    with pytest.raises(ConfigError, match=r"query 'q 2', document 'b'.*finite"):
        write_store(tmp_path / "store", [lambda: block], WHO)


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match="equally long"):
        write_store(tmp_path / "store", [lambda: Block(["q"], ["a", "b"], np.array([1.0]))], WHO)


def test_no_pair_at_all(tmp_path):
    with pytest.raises(ConfigError, match="no pair"):
        write_store(tmp_path / "store", [], WHO)


def _flipped(data, place):
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_absent_unfinished_damaged_and_foreign_stores_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no score store here"):
        ScoreStore.open(tmp_path / "absent")
    with StoreWriter(tmp_path / "unfinished", WHO) as writer:
        writer.add(0, Block(["q"], ["a"], np.array([1.0])))
    with pytest.raises(ConfigError, match="unfinished"):
        ScoreStore.open(tmp_path / "unfinished")
    store = write_store(tmp_path / "store", blocks_of(pairs()), WHO)
    rows = store.path / store.checksum / "rows.arrow"
    whole = rows.read_bytes()
    place = whole.index(np.float32(next(iter(content(store).values()))).tobytes())
    for text, error in ((whole[: len(whole) // 2], "damaged"), (_flipped(whole, place), "have changed")):
        rows.unlink()  # a new file, as the old one is mapped
        rows.write_bytes(text)
        with pytest.raises(ConfigError, match=error):
            ScoreStore.open(store.path).verify()
    meta = json.loads((store.path / "meta.json").read_text())
    (store.path / "meta.json").write_text(json.dumps({**meta, "version": 99}))
    with pytest.raises(ConfigError, match="version 99"):
        ScoreStore.open(store.path)
    (store.path / "meta.json").write_text("{")
    with pytest.raises(ConfigError, match=r"not the meta\.json of a score store"):
        ScoreStore.open(store.path)


def test_a_store_grows_and_nothing_else_is_left(tmp_path):
    wanted = pairs()
    half = dict(list(wanted.items())[:300])
    rest = {pair: score for pair, score in wanted.items() if pair not in half}
    before = write_store(tmp_path / "store", blocks_of(half), WHO)
    with StoreWriter(tmp_path / "store", WHO) as writer:
        for number, block in enumerate(blocks_of(rest)):
            writer.add(number, block())
        assert writer.done() == set(range(number + 1))
        (tmp_path / "store" / "somebody's own").mkdir()
        grown = writer.seal(before=before)
    assert grown.checksum == write_store(tmp_path / "whole", blocks_of(wanted), WHO).checksum
    assert grown.query_ids() == list(dict.fromkeys(query for query, _ in wanted))
    assert {file.name for file in grown.path.iterdir() if file.is_dir()} == {grown.checksum, "somebody's own"}


def grown(path, seed):
    """Make the store at a path grow by other pairs, as another process would."""
    writer = StoreWriter(path, WHO)
    with writer:
        more = {(f"more{seed}-{query}", document): score for (query, document), score in pairs(seed).items()}
        for number, block in enumerate(blocks_of(more)):
            writer.add(number, block())
        return writer.seal(before=ScoreStore.open(path))


def test_a_store_that_is_read_while_it_grows_is_not_damaged(tmp_path):
    before = write_store(tmp_path / "store", blocks_of(pairs()), WHO)
    was = content(before)
    after = grown(tmp_path / "store", 1)
    assert not (tmp_path / "store" / before.checksum).exists()
    before.verify()
    assert content(before) == was
    assert content(after).items() > was.items()


def test_a_store_that_grows_while_it_is_opened_is_opened(tmp_path, monkeypatch):
    write_store(tmp_path / "store", blocks_of(pairs()), WHO)
    begin, found = ScoreStore.__init__, []

    def late(self, path, meta):
        if not found:
            monkeypatch.undo()
            found.append(grown(tmp_path / "store", 1))  # between meta.json and the files that it names
        begin(self, path, meta)

    monkeypatch.setattr(ScoreStore, "__init__", late)
    store = ScoreStore.open(tmp_path / "store")
    assert store.checksum == found[0].checksum


def test_made_again_with_the_same_scores_the_data_stay_where_they_are(tmp_path):
    wanted = pairs()
    store = write_store(tmp_path / "store", blocks_of(wanted), WHO)
    rows = store.path / store.checksum / "rows.arrow"
    before = rows.stat().st_ino
    again = write_store(tmp_path / "store", blocks_of(dict(reversed(wanted.items())), size=7), WHO)
    assert rows.stat().st_ino == before
    assert content(again) == content(store)
    again.verify()
    assert not (tmp_path / "store" / "unfinished").exists()


def test_canonical_numbers_are_their_own_keys_and_nothing_else_is():
    assert key("0") == 0
    assert key("8841822") == 8841822
    for other in ("", "007", "+7", "-7", "7 ", "7.0", "1e3", "٣", "9" * 19, "D7"):
        assert key(other) >= 1 << 63
    names = ["0", "5", "007", "MED-10", "9" * 19, "é", "5", "MED-10", ""]
    found, table = keys(names)
    assert found.tolist() == key_list(names).tolist() == [key(name) for name in names]
    order = np.argsort(table["key"].to_numpy())
    ids = table["id"].combine_chunks().take(pa.array(order))
    assert texts(found, table["key"].to_numpy()[order], ids) == names
    numbers = np.array([5, 0, 12], dtype=np.int64)
    assert keys(numbers)[0].tolist() == [5, 0, 12]
    for number in (-1, 10**18):
        with pytest.raises(ValueError, match="no sign and at most 18 digits"):
            keys(np.array([number]))


@pytest.mark.parametrize("kind", [list, pa.string(), pa.large_string()])
def test_ids_in_whatever_column_have_the_same_keys(kind):
    ids = ["7", "d7", "d8", "d7"]
    values, table = keys(ids if kind is list else pa.array(ids, kind))
    assert values.tolist() == key_list(ids).tolist()
    assert table is not None
    assert sorted(table["id"].to_pylist()) == ["d7", "d8"]
    if kind is list:
        assert pa.types.is_large_string(table["id"].type)  # holds more than 2³¹ characters in one piece


def test_two_ids_of_one_hash_are_found(tmp_path, monkeypatch):
    class Same:
        def __init__(self, *_, **__):
            pass

        def digest(self):
            return b"\0" * 8

    monkeypatch.setattr(keys_module.hashlib, "blake2b", Same)
    with pytest.raises(ConfigError, match="'a' and 'b' have the same hash"):
        parts_module.sorted_part(Block(["1", "1"], ["a", "b"], np.array([1.0, 2.0])), "error", tmp_path)
