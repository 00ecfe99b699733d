import bz2
import contextlib
import gzip
import io
import lzma
import os
import pickle
import random
import shlex
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from decimal import Decimal
from pathlib import Path

import lz4.frame
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jumping import lines, listening
from limbeck.config import ConfigError
from limbeck.formats import parquet, pickles, sbert_ce_scores

SCORES = {1: {10: 1.5, 11: -2.0}, 2: {10: 0}, "03": {"D 4": 9.25, "文書": 1e-3}}
ROWS = [
    ("1", "10", 1.5),
    ("1", "11", -2.0),
    ("2", "10", 0.0),
    ("03", "D 4", 9.25),
    ("03", "文書", float(np.float32(1e-3))),
]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


# -- pickle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_is_read(protocol, rows, tmp_path):
    path = tmp_path / "scores.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps(SCORES, protocol)))
    assert rows("sbert_ce_scores", path)[0] == ROWS


def mixed(queries):
    """Ids and scores of every size: below 2⁸, 2¹⁶ and 2³¹, above, and negative; texts; whole numbers as scores."""
    rng = random.Random(1)
    ids = [lambda: rng.randrange(250), lambda: rng.randrange(60_000), lambda: rng.randrange(2**31), lambda: 2**40, str]
    weights = [1, 2, 200, 1, 1]
    return {
        str(query) if query % 7 == 0 else query * 300: {
            rng.choices(ids, weights)[0](): rng.choice([rng.uniform(-11, 11)] * 30 + [3])
            for _ in range(rng.randrange(99))
        }
        for query in range(queries)
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_is_read_as_python_reads_it(protocol, tmp_path):
    path = tmp_path / "scores.pkl"
    whole = mixed(1100 if protocol == 4 else 50)
    path.write_bytes(pickle.dumps(whole, protocol))
    assert repr(list(pickles.items(path))) == repr(list(whole.items()))  # 1 and 1.0 are equal


def test_a_pickle_is_read_a_thousand_queries_at_a_time(tmp_path, caplog):
    path = tmp_path / "scores.pkl"
    path.write_bytes(pickle.dumps({query: {10**6 + n: 0.5 + n for n in range(40)} for query in range(3000)}))
    start, held = sys.getallocatedblocks(), []

    def note():  # now and then: it counts the blocks of the whole process
        return held.append(sys.getallocatedblocks() - start) or True

    with listening(caplog):
        read = [number for number, _ in enumerate(pickles.items(path)) if number % 50 or note()]
    assert len(read) == 3000
    assert max(held) < 0.6 * 2 * 3000 * 40  # two objects a pair: its document and its score
    shares = [int(line.split(" %")[0]) for line in lines(caplog, "reading scores.pkl") if " %" in line]
    assert shares[:3] == pytest.approx([33, 66, 100], abs=5)


def test_a_pickle_that_comes_back_to_documents_is_refused(tmp_path):
    path, shared = tmp_path / "scores.pkl", {5: 0.5}
    path.write_bytes(pickle.dumps({0: shared, 1: shared}))
    assert list(pickles.items(path)) == [(0, shared), (1, shared)]
    path.write_bytes(pickle.dumps({query: shared if query in (0, 1500) else {1: 1.0} for query in range(1600)}))
    with pytest.raises(ConfigError, match="query 1500 shares its documents with a much earlier query"):
        list(pickles.items(path))


@pytest.mark.parametrize("where", ["value", "key", "whole", "deep"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_bomb_does_not_go_off(where, protocol, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = {"value": {1: {10: Bomb()}}, "key": {1: {(Bomb(),): 1.0}}, "whole": Bomb(), "deep": {1: {10: [[Bomb()]]}}}
    path = tmp_path / "scores.pkl"
    path.write_bytes(pickle.dumps(bomb[where], protocol))
    for on_error in ("error", "skip"):
        with pytest.raises(ConfigError, match=rf"refused: the pickle wants to use {os.system.__module__}\.system"):
            rows("sbert_ce_scores", path, on_error=on_error)
    assert not (tmp_path / "exploded").exists()


def test_the_bomb_is_a_bomb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("wanted", ["builtins.eval", "numpy._core.multiarray.scalar", "collections.OrderedDict"])
def test_no_class_or_function_at_all_comes_in(wanted, rows, tmp_path):
    module, _, name = wanted.rpartition(".")
    path = tmp_path / "scores.pkl"
    path.write_bytes(f"c{module}\n{name}\n(tR.".encode())
    with pytest.raises(ConfigError, match=f"wants to use {wanted}, where there should be nothing but dictionaries"):
        rows("sbert_ce_scores", path)
    path.write_bytes(b"Pdatabase\n.")
    with pytest.raises(ConfigError, match="refused: the pickle wants to use the persistent object 'database'"):
        rows("sbert_ce_scores", path)


BAD_PICKLES = {
    "list": ([1], r"the pickle holds a list, where a dictionary \{query: \{document: score\}\} should be\.$"),
    "empty": ({}, "the file is empty"),
    "query": ({(1, 2): {1: 1.0}}, r":1: \(1, 2\) is no query id"),
    "truth": ({True: {1: 1.0}}, ":1: True is no query id"),
    "documents": ({5: {1: 1.0}, 6: [1.0]}, ":2: query 6 has no documents"),
    "document": ({6: {1.5: 1.0}}, ":1: query 6 has a document id that is neither a number nor a text"),
    "score": ({6: {1: "1.0"}}, ":1: query 6 has a score that is no finite number"),
    "nan": ({6: {1: float("nan")}}, ":1: query 6 has a score that is no finite number"),
    "set": ({6: {1: {1.0}}}, ":1: query 6 has a score"),
}


@pytest.mark.parametrize("case", BAD_PICKLES)
def test_what_is_no_dictionary_of_scores(case, rows, tmp_path):
    value, problem = BAD_PICKLES[case]
    path = tmp_path / "scores.pkl"
    path.write_bytes(pickle.dumps(value, 3))  # protocol 4 builds sets without a class, 3 with one
    if case == "set":
        path.write_bytes(pickle.dumps(value, 4))
    with pytest.raises(ConfigError, match=problem):
        rows("sbert_ce_scores", path)


def with_default():
    made = defaultdict(dict)
    made["q"]["d"] = 0.5
    return made


NOT_PLAIN = {
    "scores of NumPy": ({"q": {"d": np.float32(0.5)}}, "numbers of NumPy"),
    "ids of NumPy": ({"q": {np.str_("d"): np.float64(0.5)}}, "numbers of NumPy"),
    "arrays": ({"q": {"d": np.array([0.5])}}, "numbers of NumPy"),
    "a defaultdict": (with_default(), "a defaultdict"),
    "a defaultdict with scores of NumPy": (
        defaultdict(dict, q={"d": np.float64(0.5)}),
        "a defaultdict and numbers of N",
    ),
    "an OrderedDict": (OrderedDict(q=OrderedDict(d=0.5)), "an OrderedDict"),
    "a Counter": ({"q": Counter({"d": 0.5})}, "a Counter"),
    "tensors": ({"q": {"d": torch.tensor(0.5)}}, "tensors of PyTorch"),
    "decimal fractions": ({"q": {"d": Decimal("0.5")}}, "decimal fractions"),
    "pandas": (pd.DataFrame({"query": ["q"], "doc_id": ["d"], "score": [0.5]}), "a table of pandas"),
    "pairs as keys": ({("q", "d"): 0.5}, r"pairs \(query, document\) as keys"),
    "lists of pairs": ({"q": [("d", 0.5)]}, r"lists of pairs \(document, score\)"),
    "triples": ([("q", "d", 0.5)], r"triples \(query, document, score\)"),
}
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".lz4": lz4.frame.compress}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_the_remedy_fits_the_pickle_and_works(case, rows, tmp_path, monkeypatch):
    value, what = NOT_PLAIN[case]
    monkeypatch.chdir(tmp_path)
    path = Path("my scores.pkl")
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(ConfigError, match=f"refused: .*It seems to hold {what}.* If you trust the author of") as told:
        rows("sbert_ce_scores", path)
    python, option, program, *to = shlex.split(str(told.value).splitlines()[1])
    assert (python, option, to) in (("python", "-c", []), ("python", "-c", [">", "scores.tsv"]))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})  # the shell does it below; a fresh interpreter would import torch or pandas anew
    if to:
        Path("scores.tsv").write_text(printed.getvalue())
    assert rows("table", Path("scores.tsv"))[0] == [("q", "d", 0.5)]


@pytest.mark.parametrize("ending", PACKERS)
def test_the_remedy_opens_the_file_as_it_is_compressed(ending, rows, tmp_path, monkeypatch):
    """In a shell, as it is shown."""
    monkeypatch.chdir(tmp_path)
    path = Path(f"my scores.pkl{ending}")
    path.write_bytes(PACKERS[ending](pickle.dumps({"q": {"d": np.float32(0.5)}})))
    with pytest.raises(ConfigError, match="numbers of NumPy") as told:
        rows("sbert_ce_scores", path)
    command = str(told.value).splitlines()[1].strip()
    subprocess.run(command.replace("python", shlex.quote(sys.executable), 1), shell=True, check=True)
    assert rows("table", Path("scores.tsv"))[0] == [("q", "d", 0.5)]


def test_no_remedy_loads_what_is_not_known(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scores.pkl"
    for value in ({"q": {"d": np.float32(1), "e": Bomb()}}, defaultdict(Bomb, q={"d": 1}), [Bomb()]):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(ConfigError, match="Do not load it with anything else; ask for the scores as TSV") as told:
            rows("sbert_ce_scores", path)
        assert "python" not in str(told.value)
    assert not (tmp_path / "exploded").exists()


def test_a_damaged_pickle(rows, tmp_path):
    path = tmp_path / "scores.pkl"
    for content in (pickle.dumps(SCORES)[:-20], b"neither this nor that", b"", b"q_id\tpid\n"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="this is neither Parquet nor a whole pickle"):
            rows("sbert_ce_scores", path)


def test_entries_that_are_skipped(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(sbert_ce_scores, "_QUERIES", 2)
    path = tmp_path / "scores.pkl"
    path.write_bytes(pickle.dumps({7: [], **SCORES, 8: {1: None}}))
    found, faults = rows("sbert_ce_scores", path, on_error="skip")
    assert found == ROWS
    assert [place.split(": ", 1)[0] for place in faults.places] == [f"{path}:1", f"{path}:5"]


# -- Parquet ------------------------------------------------------------------------------------------------------


def written(tmp_path, columns, **options):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_pair_a_row(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 2)
    query, document, score = zip(*ROWS, strict=True)
    path = written(tmp_path, {"query_id": query, "more": ["x"] * 5, "corpus_id": document, "score": score})
    assert rows("sbert_ce_scores", path)[0] == ROWS


@pytest.mark.parametrize("large", [False, True])
def test_lists_of_a_query(large, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_LISTS", 2)
    kind = pa.large_list if large else pa.list_
    path = written(
        tmp_path,
        {
            "query_id": pa.array([4, 5, 6, 7]),
            "corpus_id": pa.array([[10, 11], [], [10], [12]], kind(pa.int32())),
            "score": pa.array([[1.5, -2.0], [], [0.25], [3]], kind(pa.float64())),
        },
    )
    assert rows("sbert_ce_scores", path)[0] == [
        ("4", "10", 1.5),
        ("4", "11", -2.0),
        ("6", "10", 0.25),
        ("7", "12", 3.0),
    ]


def test_other_names_and_types(rows, tmp_path):
    columns = {"query-id": pa.array(["a", "b"]).dictionary_encode(), "passage_id": [1, 10**18], "score": [1, 2]}
    assert rows("sbert_ce_scores", written(tmp_path, columns))[0] == [("a", "1", 1.0), ("b", str(10**18), 2.0)]


def test_malformed_rows_are_named_by_number(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 2)
    columns = {
        "query_id": ["a", "b", "c", None, "e", "f"],
        "corpus_id": [1, -2, None, 4, 5, 6],
        "score": [1.0, 2.0, None, 4.0, float("inf"), 6.0],
    }
    path = written(tmp_path, columns)
    with pytest.raises(ConfigError, match=r"scores\.parquet:2: -2 is no document id"):
        rows("sbert_ce_scores", path)
    found, faults = rows("sbert_ce_scores", path, on_error="skip")
    assert found == [("a", "1", 1.0), ("f", "6", 6.0)]
    assert faults.count == 4
    assert faults.places == [
        f"{path}:2: -2 is no document id",
        f"{path}:3: None is no document id",
        f"{path}:4: None is no query id",
        f"{path}:5: inf is no score",
    ]


def test_malformed_lists_are_left_out_whole(rows, tmp_path):
    columns = {
        "query_id": ["a", "b", "c"],
        "corpus_id": [[1, 2], [3], [4, 5]],
        "score": [[1.0, None], [3.0], [4.0]],
    }
    path = written(tmp_path, columns)
    with pytest.raises(ConfigError, match=r"scores\.parquet:3: has lists of unequal length, 2 in document and 1 in"):
        rows("sbert_ce_scores", path)
    found, faults = rows("sbert_ce_scores", path, on_error="skip")
    assert found == [("b", "3", 3.0)]
    assert faults.count == 2


def test_a_missing_column_and_a_column_of_another_type(rows, tmp_path):
    path = written(tmp_path, {"query_id": ["a"], "label": [1]})
    with pytest.raises(
        ConfigError, match=r"no column for the document id; looked for corpus_id, .*has query_id, label"
    ):
        rows("sbert_ce_scores", path)
    path = written(tmp_path, {"query_id": ["a"], "corpus_id": [1.5], "score": [1.0]})
    with pytest.raises(ConfigError, match="column corpus_id is of type double, which is no document id"):
        rows("sbert_ce_scores", path)
    path = written(tmp_path, {"query_id": ["a"], "corpus_id": [1], "score": ["1.0"]})
    with pytest.raises(ConfigError, match="column score is of type string, which is no score"):
        rows("sbert_ce_scores", path)


def test_an_empty_or_cut_file(rows, tmp_path):
    path = written(tmp_path, {"query_id": pa.array([], pa.string()), "corpus_id": [], "score": []})
    with pytest.raises(ConfigError, match="the file is empty"):
        rows("sbert_ce_scores", path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ConfigError, match="this is no whole Parquet file"):
        rows("sbert_ce_scores", path)
