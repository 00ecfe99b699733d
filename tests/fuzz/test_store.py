"""A score store gives back what went in; a damaged one says so, and no number of it is another one."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.config import ConfigError
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance, write_store

IDS = st.one_of(
    st.sampled_from(["7", "007", "0", "a b", "\u2028", "999999999999999999", "1000000000000000000", "-1", "é"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=4),
    st.integers(0, 10**18).map(str),
)
PAIRS = st.dictionaries(st.tuples(IDS, IDS), st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


def content(store):
    return {query: dict(zip(documents, scores.tolist(), strict=True)) for query, documents, scores, _ in store}


@given(pairs=PAIRS, cut=st.integers(0, 5), ranked=st.booleans())
def test_what_goes_in_comes_out(tmp_path, pairs, cut, ranked):
    rows = [(query, document, score) for (query, document), score in pairs.items()]

    def block(some):
        queries, documents, scores = zip(*some, strict=True)
        ranks = np.arange(1, len(some) + 1, dtype=np.int32) if ranked else None
        return lambda: Block(list(queries), list(documents), np.array(scores, np.float32), ranks)

    blocks = [block(some) for some in (rows[:cut], rows[cut:]) if some]
    store = write_store(tmp_path / "store", blocks, Provenance("t"), threads=1)
    store.verify()
    expected = {}
    for query, document, score in rows:
        expected.setdefault(query, {})[document] = score
    assert content(store) == expected
    assert list(content(store)) == list(expected)
    for query, documents in expected.items():
        assert store.lookup(query, list(documents)).tolist() == list(documents.values())
    assert np.isnan(store.lookup("absent!", ["7"])).all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "whole"
    queries, documents = ["7", "7", "q é", "q é", "12"], ["1", "d", "d", "30", "1"]
    write_store(path, [lambda: Block(queries, documents, np.arange(5, dtype=np.float32) + 0.5)], Provenance("t"))
    return path


@given(data=st.data())
def test_damage_is_told(whole, data):
    store = ScoreStore.open(whole)
    expected, folder = content(store), whole.with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    name = data.draw(st.sampled_from(["rows.arrow", "rows.arrow", "queries.arrow", "ids.arrow", "../meta.json"]))
    file = folder / store.checksum / name
    content_ = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content_) - 1))
    if data.draw(st.integers(0, 3)):
        content_[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content_[at:]
    file.write_bytes(content_)
    try:
        found = ScoreStore.open(folder)
        found.verify()
    except ConfigError as error:
        assert str(folder) in str(error)  # noqa: PT017 - most damage is told, some is in bytes that nothing reads
    else:
        assert content(found) == expected
