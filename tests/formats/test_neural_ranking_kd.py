"""The fast parser against a plain one, line by line, and what the fast one must not let through."""

import gzip
import random

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.formats import neural_ranking_kd
from limbeck.formats.faults import Faults
from limbeck.formats.neural_ranking_kd import _leading_zero, _strings
from limbeck.scores.writer import Provenance, write_store

GOOD = ["3.25\t-1.5\t7\t100\t200", "0\t1e-3\t8\t0\t201", "-0.5\t+2\t7\t101\t999999999999999999"]

ODD_IDS = [
    "007", "00", "0x1F", " 7", "7 ", "-7", "+7", "1_0", "1e5", "a", "NA", "nan", "null", '"7"', "MARCO D 1", "文書",
    "7\xa0", "1000000000000000000", "9223372036854775807", "9223372036854775808",
]  # fmt: skip


def plain(*lines):
    result = []
    for line in lines:
        positive, negative, query, first, second = line.split("\t")
        result += [(query, first, float(np.float32(positive))), (query, second, float(np.float32(negative)))]
    return result


def kept_as_numbers(source, path):
    return {isinstance(block().queries, np.ndarray) for block in source.blocks([path], Faults())}


def test_pairs_come_in_the_order_of_the_lines(rows, made):
    assert rows("neural_ranking_kd", made(*GOOD))[0] == plain(*GOOD)


def test_compressed_and_with_windows_line_ends(rows, tmp_path):
    path = tmp_path / "scores.tsv.gz"
    path.write_bytes(gzip.compress("\r\n".join([*GOOD, ""]).encode()))
    assert rows("neural_ranking_kd", path)[0] == plain(*GOOD)


@pytest.mark.parametrize("identifier", ODD_IDS)
@pytest.mark.parametrize("column", [2, 3, 4])
def test_ids_are_kept_to_the_letter(identifier, column, rows, made, tmp_path):
    columns = GOOD[0].split("\t")
    columns[column] = identifier
    lines = [GOOD[0], "\t".join(columns), GOOD[1]]
    path = made(*lines)
    assert rows("neural_ranking_kd", path)[0] == plain(*lines)
    # What is no canonical number must not be taken for one, not even in the first line.
    source = neural_ranking_kd.NeuralRankingKD(tmp_path)
    assert kept_as_numbers(source, path) == {False}
    assert kept_as_numbers(source, made(lines[1])) == {False}
    assert kept_as_numbers(source, made(lines[0])) == {True}


def test_a_zero_alone_is_a_number(made, tmp_path):
    source = neural_ranking_kd.NeuralRankingKD(tmp_path)
    assert kept_as_numbers(source, made("0.25\t0\t0\t0\t0", "0\t-0.5\t10\t0\t0")) == {True}
    assert kept_as_numbers(source, made("0.25\t0\t0\t0\t0", "0\t-0.5\t0\t00\t0")) == {False}


BAD = {
    "too few columns": ("1\t2\t3\t4", "has 4 columns separated by tabs"),
    "too many columns": ("1\t2\t3\t4\t5\t6", "has 6 columns"),
    "spaces": ("1 2 3 4 5", "has 1 column separated by tabs"),
    "no score": ("x\t2\t3\t4\t5", "'x' is no finite number"),
    "empty score": ("\t2\t3\t4\t5", "'' is no finite number"),
    "nan": ("1\tnan\t3\t4\t5", "'nan' is no finite number"),
    "infinite": ("1\tinf\t3\t4\t5", "'inf' is no finite number"),
    "beyond float32": ("1\t1e39\t3\t4\t5", "has a score that is too large"),
    "grouped": ("1_0\t2\t3\t4\t5", "'1_0' is no finite number"),
    "empty id": ("1\t2\t3\t\t5", "'' is no id (pos_pid)"),
    "score for an id": ("1\t2\t3\t4\t-5.25", "'-5.25' is where neg_pid belongs, and looks like a score"),
    "not UTF-8": (b"1\t2\t3\t4\t\xff5", "'utf-8' codec can't decode"),
    "header": ("pos_score\tneg_score\tqid\tpos_pid\tneg_pid", "'pos_score' is no finite number"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("ids", ["numbers", "strings"])
def test_malformed_lines_are_named_by_file_and_line(case, ids, rows, made, monkeypatch):
    monkeypatch.setattr(neural_ranking_kd, "BLOCK", 100)
    line, problem = BAD[case]
    good = GOOD if ids == "numbers" else [each.replace("\t7\t", "\tq7\t") for each in GOOD]
    path = made(*good * 5, "", line, *good * 5)
    with pytest.raises(ConfigError) as told:
        rows("neural_ranking_kd", path)
    assert str(told.value).startswith(f"{path}:17: {problem}")
    assert "it should be: pos_score neg_score qid pos_pid neg_pid, five columns separated by tabs" in str(told.value)
    found, faults = rows("neural_ranking_kd", path, on_error="skip")
    assert found == plain(*good * 10)
    assert faults.count == 1
    assert faults.places[0].startswith(f"{path}:17: {problem}")


def test_blocks_of_any_size_give_the_same(rows, made, monkeypatch):
    draw = random.Random(1)
    lines = [
        f"{draw.gauss(0, 9):.7f}\t{draw.gauss(0, 9):.5g}\t{draw.randrange(50)}\t{draw.randrange(10**7)}"
        f"\t{draw.choice(['', 'D'])}{draw.randrange(1, 10**7)}"
        for _ in range(300)
    ]
    path = made(*lines)
    for size in (1, 50, 5000, 10**6):
        monkeypatch.setattr(neural_ranking_kd, "BLOCK", size)
        assert rows("neural_ranking_kd", path)[0] == plain(*lines)


def test_numbers_and_strings_meet_in_one_store(made, tmp_path, monkeypatch):
    monkeypatch.setattr(neural_ranking_kd, "BLOCK", 1)  # a block a line
    path = made("1\t2\t7\t100\t200", "3\t4\t7\t0100\tD2", "5\t6\t07\t100\t201")
    source = neural_ranking_kd.NeuralRankingKD(tmp_path)
    assert kept_as_numbers(source, path) == {True, False}
    store = write_store(tmp_path / "store", source.blocks([path], Faults()), Provenance(teacher="t"))
    assert store.query_ids() == ["7", "07"]
    assert store.lookup("7", ["100", "200", "0100", "D2"]).tolist() == [1, 2, 3, 4]
    assert store.lookup("07", ["100", "201"]).tolist() == [5, 6]


def test_lines_of_nothing_but_good_strings_take_the_fast_way():
    assert _strings("\n".join(GOOD).replace("\t7\t", "\tq7\t").encode()) is not None


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_leading_zero_is_seen_wherever_the_steps_begin(step, monkeypatch):
    monkeypatch.setattr(neural_ranking_kd, "_STEP", step)
    for place in range(12):
        before = "1" * place
        assert _leading_zero(f"{before}\t07\t1".encode())
        assert _leading_zero(f"{before}\n0.5\t0x7".encode())
        assert not _leading_zero(f"{before}\t0\t10\n0.5\t0\n".encode())
