"""Whatever bytes a file holds, a reader returns what it reads or says what is wrong with the file, by its name."""

import io
import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.utils import get_object
from hypothesis import given
from hypothesis import strategies as st

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError, entries
from limbeck.data.folder import documents, split
from limbeck.evaluation import runs
from limbeck.evaluation.qrels import read_qrels
from limbeck.formats import neural_ranking_kd, trec_run
from limbeck.formats.faults import Faults
from limbeck.formats.files import Chunk
from limbeck.scores.parts import sorted_part

FORMATS = sorted(name for kind, name in entries() if kind == "format" and name != "score_stores")

WORDS = st.one_of(
    st.sampled_from(
        [b"q1", b"7", b"007", b"0x7", b"-0", b"-1", b"+7", b"0", b"1", b"2", b"1.5", b"nan", b"inf", b"1e400", b"-1e-3",
         b"1_0", b"4e38", b"3.4028236e38", b"2147483648", b"999999999999999999", b"1000000000000000000", b"", b"Q0",
         b"d\xc2\xa01", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xff", b"\x00", b"\x1c", b"\xd9\xa1", b'"', b"a b", b"null"]
    ),
    st.binary(max_size=4),
)  # fmt: skip
PARTS = st.sampled_from([b" ", b" ", b" ", b"\t", b"\t", b"  ", b"\v", b"\r", b" \t"])
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b" \n", b"\n\n", b""])


@st.composite
def columns(draw, count):
    """Lines of about so many columns; most are near a line that is right."""
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        good = {
            6: [b"q", b"Q0", b"d%d" % len(lines), b"%d" % (len(lines) + 1), b"2.5", b"tag"],
            5: [b"2.5", b"-1", b"7", b"10", b"1%d" % len(lines)],
            4: [b"q", b"0", b"d%d" % len(lines), b"1"],
            3: [b"q", b"d%d" % len(lines), b"1"],
        }[count]
        part = draw(PARTS)
        for _ in range(draw(st.integers(0, 2))):
            good[draw(st.integers(0, count - 1))] = draw(WORDS)
        if draw(st.integers(0, 9)) == 0:
            good = good[: draw(st.integers(0, count))]
        lines.append(part.join(good) + draw(ENDS))
    head = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\n", b" ", b"query-id\tcorpus-id\tscore\n"]))
    return head + b"".join(lines)


NUMBERS = st.one_of(st.floats(), st.integers(), st.sampled_from([10**400, -(10**400), 1e308, 4e38, True, None, "1"]))
NAMES = st.one_of(st.text(max_size=3), st.integers(), st.sampled_from(["", "\ud800", "a b", 10**30, -1, 1.5, None, []]))
KEYS = [
    "query", "pos", "neg", "pos_scores", "neg_scores", "qid", "pid", "ce-score", "query_id", "positives", "negatives",
    "doc_id", "score", "_id", "text", "title",
]  # fmt: skip
ANY = st.recursive(
    NUMBERS | NAMES | st.booleans(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(KEYS), each, max_size=5),
    max_leaves=12,
)
LISTED = st.fixed_dictionaries({"doc_id": st.lists(NAMES, max_size=2), "score": st.lists(NUMBERS, max_size=2)})
SCORED = st.fixed_dictionaries({"pid": NAMES, "ce-score": NUMBERS})
RECORDS = st.one_of(
    ANY,
    st.builds(lambda query, pairs: [query, *map(list, pairs)], NAMES, st.lists(st.tuples(NAMES, NUMBERS), max_size=3)),
    st.fixed_dictionaries({
        "qid": NAMES, "pos": st.lists(SCORED, max_size=2),
        "neg": st.dictionaries(st.text(max_size=2), st.lists(SCORED, max_size=2), max_size=2),
    }),
    st.fixed_dictionaries({"query_id": NAMES, "positives": LISTED, "negatives": LISTED}),
    st.fixed_dictionaries({
        "query": NAMES, "pos": st.lists(NAMES, max_size=2), "neg": st.lists(NAMES, max_size=2),
        "pos_scores": st.lists(NUMBERS, max_size=2), "neg_scores": st.lists(NUMBERS, max_size=2),
    }),
    st.fixed_dictionaries({"_id": NAMES, "text": NAMES}, optional={"title": NAMES}),
)  # fmt: skip


@st.composite
def json_lines(draw):
    lines = [json.dumps(draw(RECORDS), ensure_ascii=draw(st.booleans())) for _ in range(draw(st.integers(0, 3)))]
    data = b"".join(line.encode("utf-8", errors="surrogatepass") + draw(ENDS) for line in lines)
    return _spoiled(draw, data)


def _spoiled(draw, data):
    """Cut data off, or change a byte, now and then."""
    how = draw(st.integers(0, 5))
    if how == 0 and data:
        return data[: draw(st.integers(0, len(data) - 1))]
    if how == 1 and data:
        at = draw(st.integers(0, len(data) - 1))
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    return data


@st.composite
def parquet_files(draw):
    rows = draw(st.integers(0, 4))
    types = {
        "id": [
            pa.string(), pa.large_string(), pa.int64(), pa.int32(), pa.uint64(), pa.float64(), pa.binary(),
            pa.list_(pa.string()), pa.list_(pa.int64()), pa.dictionary(pa.int32(), pa.string()),
        ],
        "number": [
            pa.float32(), pa.float64(), pa.int64(), pa.uint64(), pa.string(), pa.list_(pa.float32()), pa.bool_(),
        ],
    }  # fmt: skip
    names = draw(
        st.lists(
            st.sampled_from(["query_id", "corpus_id", "doc_id", "score", "rank", "text"]),
            unique=True,
            min_size=1,
            max_size=5,
        )
    )
    made = {}
    for name in names:
        kind = draw(st.sampled_from(types["id" if name.endswith("id") else "number"]))
        made[name] = pa.array([draw(_cell(kind)) for _ in range(rows)], kind)
    sink = io.BytesIO()
    pq.write_table(pa.table(made), sink)
    return _spoiled(draw, sink.getvalue())


def _cell(kind):
    if pa.types.is_list(kind):
        return st.lists(_cell(kind.value_type), max_size=2) | st.none()
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return st.sampled_from(["a", "7", "", "a b", None])
    if pa.types.is_binary(kind):
        return st.sampled_from([b"a", b"\xff", None])
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_floating(kind):
        return st.sampled_from([1.0, -2.5, float("nan"), float("inf"), 1e30, None])
    most = {"int32": 2**31 - 1, "int64": 2**63 - 1, "uint64": 2**64 - 1}[str(kind)]
    return st.sampled_from([0, 1, 2, most, 5 if "u" in str(kind) else -1, min(most, 2**40), None])


@st.composite
def pickles(draw):
    keys = NAMES.filter(lambda each: each.__hash__ is not None)
    lists = st.dictionaries(keys, NUMBERS, max_size=3)
    found = draw(st.dictionaries(keys, lists | NUMBERS, max_size=3) | ANY)
    return _spoiled(draw, pickle.dumps(found))


FILES = st.one_of(st.binary(max_size=80), columns(6), columns(5), columns(3), json_lines(), parquet_files(), pickles())


def read(name, path, on_error="error"):
    """Read a file as the import does, to the blocks that the store's writer sorts."""
    made = get_object(entries()["format", name].path)(path.parent / "store")
    faults = Faults(on_error)
    made.source([path])
    parts = [sorted_part(thunk(), "first", path) for thunk in made.blocks([path], faults)]
    made.finish()
    return parts, faults


@pytest.fixture
def file(tmp_path):
    (tmp_path / "store").mkdir()

    def write(data, name="file"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def told(error, path):
    assert str(path) in str(error)
    assert str(error).strip() == str(error)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_formats(name, file, data):
    kinds = {"sbert_ce_scores": pickles() | parquet_files(), "rank_distillm": columns(6) | parquet_files()}
    own = {"trec_run": columns(6), "neural_ranking_kd": columns(5)} | kinds
    path = file(data.draw(st.one_of(own.get(name, json_lines()), own.get(name, json_lines()), FILES)))
    try:
        parts, _ = read(name, path)
    except ConfigError as error:
        told(error, path)
        parts = None
    else:
        assert all(np.isfinite(part["score"].to_numpy()).all() for part in parts)
    try:  # malformed lines left out, the rest is the same
        kept, faults = read(name, path, "skip")
    except ConfigError as error:
        told(error, path)
        assert parts is None
    else:
        assert (parts is None) == bool(faults.count)
        assert parts is None or [part.num_rows for part in parts] == [part.num_rows for part in kept]


@given(data=columns(6))
def test_fast_and_slow_trec_agree(file, data):
    chunk = Chunk(file(data), 1, data.removeprefix(b"\xef\xbb\xbf"))
    for base in (0, 1):
        fast = trec_run._fast(chunk, base)
        if fast is not None:
            slow = trec_run._slow(chunk, base, Faults())
            assert fast.select(slow.column_names).equals(slow), data


@given(data=columns(5))
def test_fast_and_slow_pairs_agree(file, data):
    chunk = Chunk(file(data), 1, data.removeprefix(b"\xef\xbb\xbf"))
    for quick in (neural_ranking_kd._numbers, neural_ranking_kd._strings):
        fast = quick(chunk.data)
        if fast is None:
            continue
        slow = neural_ranking_kd.NeuralRankingKD(chunk.path.parent)._slow(chunk, Faults())
        for one, other in zip(fast[:2], slow[:2], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)  # rounded once or twice
        for one, other in zip(fast[2:], slow[2:], strict=True):
            assert [str(each) for each in one.tolist()] == other.to_pylist()


@pytest.mark.parametrize("use", ["scores", "ranks"])
@given(data=columns(6) | st.binary(max_size=60))
def test_runs(file, use, data):
    path = file(data)
    try:
        slow = runs._by_line(path, use) if data else {}
    except ValueError as error:
        told(error, path)
        with pytest.raises(ValueError, match=re.escape(str(error))):
            runs.read_run(path, use=use)
        return
    found = runs.read_run(path, use=use)
    assert {query: ranking.ids for query, ranking in found.items()} == {q: ranking.ids for q, ranking in slow.items()}
    for query, ranking in found.items():
        np.testing.assert_array_equal(ranking.scores, slow[query].scores)


@given(data=columns(4) | columns(3) | st.binary(max_size=60))
def test_judgments(file, data):
    path = file(data)
    try:
        found = read_qrels(path)
    except ConfigError as error:
        told(error, path)
    else:
        assert found
        assert all(type(grade) is int for judged in found.values() for grade in judged.values())


@given(data=json_lines() | st.binary(max_size=60))
def test_collections(file, tmp_path, data):
    (tmp_path / "qrels").mkdir(exist_ok=True)
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    for name in ("corpus.jsonl", "queries.jsonl"):
        path = file(data, name)
        try:
            if name == "corpus.jsonl":
                found = [
                    (each.doc_id, each.default_text())
                    for each in documents(tmp_path, Artefacts(tmp_path / "cache"), "0").docs_iter()
                ]
            else:
                found = [(each.query_id, each.text) for each in split(tmp_path, "test").queries_iter()]
        except ConfigError as error:
            told(error, path)
        else:
            "".join(map("".join, found)).encode()  # what is read can be written
