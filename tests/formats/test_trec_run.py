import gzip
import random

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.formats import trec_run
from limbeck.formats.faults import Faults
from limbeck.formats.trec_run import TrecRun, write_trec
from limbeck.scores.parts import Block
from limbeck.scores.writer import Provenance, write_store

LINES = ["q1 Q0 d7 1 0.5 bm25", "q1 Q0 d3 2 0.75 bm25", "q2 0 文書 1 -1e-3 bm25"]
ROWS = [("q1", "d7", 0.5, 1), ("q1", "d3", 0.75, 2), ("q2", "文書", -0.001, 1)]


def stored(path, folder):
    source = TrecRun(folder)
    return write_store(folder, source.blocks([path], Faults()), Provenance(teacher="t"), notes=source.finish)


@pytest.mark.parametrize(
    "change",
    [
        str,
        lambda line: line.replace(" ", "\t"),
        lambda line: line.replace(" ", "   "),
        lambda line: line + " ",
        lambda line: line + "\r",
        lambda line: line.replace(" ", " \t", 1),
        lambda line: line + " of ours, version 2",
        lambda line: "# " + line + "\n" + line,
        lambda line: line.replace("0.5", "0x.8"),
    ],
)
def test_any_white_space_parts_columns(change, rows, made):
    assert rows("trec_run", made(*map(change, LINES)))[0] == ROWS


def test_compressed(rows, tmp_path):
    path = tmp_path / "run.gz"
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))
    assert rows("trec_run", path)[0] == ROWS


def test_ranks_from_zero_become_ranks_from_one(rows, made):
    path = made("q1 Q0 a 0 2 t", "q1 Q0 b 1 1 t", "q2 Q0 a 0 2 t")
    assert [row[3] for row in rows("trec_run", path)[0]] == [1, 2, 1]


BAD = {
    "five columns": ("q1 Q0 d9 3 0.5", "has 5 columns"),
    "a blank in an id": ("q1 Q0 d 9 3 0.5 bm25", "has 7 columns, and seems to have a space in an id"),
    "a NUL byte": ("q1 Q0 d\09 3 0.5 bm25", "has a NUL byte"),
    "three columns": ("q1 d9 3", "has 3 columns: MS MARCO's three"),
    "no rank": ("q1 Q0 d9 third 0.5 bm25", "'third' is no rank from 1"),
    "rank 0 in a run from 1": ("q1 Q0 d9 0 0.5 bm25", "'0' is no rank from 1"),
    "negative rank": ("q1 Q0 d9 -3 0.5 bm25", "'-3' is no rank"),
    "rank too large": ("q1 Q0 d9 3000000000 0.5 bm25", "'3000000000' is no rank"),
    "no score": ("q1 Q0 d9 3 high bm25", "'high' is no finite number"),
    "nan": ("q1 Q0 d9 3 nan bm25", "'nan' is no finite number"),
    "infinite": ("q1 Q0 d9 3 inf bm25", "'inf' is no finite number"),
    "infinite below": ("q1 Q0 d9 3 -inf bm25", "'-inf' is no finite number"),
    "beyond float32": ("q1 Q0 d9 3 1e39 bm25", "'1e39' is too large for a score"),
    "beyond float32 below": ("q1 Q0 d9 3 -1e39 bm25", "'-1e39' is too large for a score"),
    "not UTF-8": (b"q1 Q0 d\xff 3 0.5 bm25", "'utf-8' codec can't decode"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_lines_are_named_by_file_and_line(case, rows, made, monkeypatch):
    monkeypatch.setattr(trec_run, "BLOCK", 30)
    line, problem = BAD[case]
    path = made(*LINES[:2], "", line, LINES[2])
    with pytest.raises(ConfigError) as told:
        rows("trec_run", path)
    assert str(told.value).startswith(f"{path}:4: {problem}")
    assert "it should be: query Q0 document rank score tag" in str(told.value)
    found, faults = rows("trec_run", path, on_error="skip")
    assert found == ROWS
    assert faults.count == 1


def test_the_teacher_is_the_tag(made, tmp_path):
    source = TrecRun(tmp_path)
    assert source.source([made(*LINES)]) == ("bm25", "unknown")
    assert source.source([made("not a run")]).teacher is None
    assert source.source([made("# from somewhere", "", *LINES)]).teacher == "bm25"
    assert source.source([made("q Q0 d 1 2.5 splade and more")]).teacher == "splade"
    store = stored(made(*LINES), tmp_path / "store")
    assert store.meta["tag"] == "bm25"
    assert stored(made(*LINES, "q3 Q0 d 1 1 other"), tmp_path / "both").meta["tags"] == ["bm25", "other"]


def fields(path):
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [(query, document, rank, repr(float(score)), tag) for query, _, document, rank, score, tag in rows]


def test_every_real_run_comes_back_as_it_was(shared, tmp_path):
    runs = sorted((shared / "msmarco-dl" / "runs").glob("*.trec"))
    assert len(runs) == 24
    for run in runs:
        write_trec(stored(run, tmp_path / run.stem), tmp_path / run.name)
        written = (tmp_path / run.name).read_text(encoding="utf-8").splitlines()
        assert fields(tmp_path / run.name) == fields(run), run.name
        assert written[0].split()[4] == fields(run)[0][3]  # the very text, not only the number


def test_a_permutation_keeps_its_order_and_the_scores_beside_it(made, tmp_path):
    lines = ["q Q0 a 1 1.5 llm", "q Q0 b 2 9.25 llm", "q Q0 c 3 4.0 llm"]
    store = stored(made(*lines), tmp_path / "store")
    documents, scores, ranks = store.ranking("q")
    assert (documents, scores.tolist(), ranks.tolist()) == (["a", "b", "c"], [1.5, 9.25, 4.0], [1, 2, 3])
    write_trec(store, tmp_path / "out.trec")
    assert (tmp_path / "out.trec").read_text().splitlines() == lines


@pytest.mark.parametrize("size", [1, 200, 10**6])
def test_scores_keep_all_their_digits(size, made, tmp_path, monkeypatch):
    monkeypatch.setattr(trec_run, "BLOCK", size)
    draw = random.Random(3)
    lines = [
        f"{query} Q0 {document} {rank} {draw.gauss(0, 1) * 10 ** draw.randint(-12, 12)!r} t"
        for query in ("9", "010", "x", "1")
        for rank, document in enumerate(draw.sample(range(10**6), 50), 1)
    ]
    write_trec(stored(made(*lines), tmp_path / "store"), tmp_path / "out.trec")
    assert (tmp_path / "out.trec").read_text().splitlines() == lines


def test_a_store_without_ranks_is_written_by_score(tmp_path):
    block = Block(["q", "q", "q"], ["a", "b", "c"], np.array([0.1, 3, 0.1], dtype=np.float32))
    store = write_store(tmp_path / "store", [lambda: block], Provenance(teacher="my model"))
    write_trec(store, tmp_path / "deep" / "out.trec")
    assert (tmp_path / "deep" / "out.trec").read_text().splitlines() == [
        "q Q0 b 1 3.0 my_model",
        "q Q0 c 2 0.1 my_model",
        "q Q0 a 3 0.1 my_model",
    ]
