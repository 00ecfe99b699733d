import json

import numpy as np
import pytest

from limbeck.analysis.moved import Moved, excerpt, moved, with_texts
from limbeck.rankings import Ranking

BASELINE = [{"a": 0.1, "b": 0.5, "c": 0.7, "d": 0.4, "e": 0.9, "f": 0.2}]
SYSTEM = [{"a": 0.6, "b": 1.0, "c": 0.7, "d": 0.1, "e": 0.1, "f": 0.3}]


def test_best_and_worst_by_hand():
    found = moved(BASELINE, SYSTEM, 2)
    assert [(one.query, one.gain) for one in found] == [("a", 0.5), ("b", 0.5), ("e", -0.8), ("d", -0.3)]
    assert (found[0].baseline, found[0].system, found[0].teacher) == (0.1, 0.6, None)


def test_queries_that_did_not_move_are_not_shown():
    assert [one.query for one in moved(BASELINE, SYSTEM, 100)] == ["a", "b", "f", "e", "d"]
    assert moved(BASELINE, BASELINE, 3) == []


def test_the_order_is_that_of_a_plain_sort():
    generator = np.random.default_rng(5)
    queries = [f"q{i}" for i in range(200)]
    systems = [dict(zip(queries, generator.integers(0, 6, 200).tolist(), strict=True)) for _ in range(4)]
    found = moved(systems[:2], systems[2:], 60)
    gains = {q: (systems[2][q] + systems[3][q] - systems[0][q] - systems[1][q]) / 2 for q in queries}
    best = sorted((q for q in queries if gains[q] > 0), key=lambda q: (-gains[q], q))
    worst = sorted((q for q in queries if gains[q] < 0), key=lambda q: (gains[q], q))
    assert [one.query for one in found] == best[:60] + worst[:60]
    assert len(set(gains.values())) < 25  # many ties
    assert [one.gain for one in found] == [gains[one.query] for one in found]


def test_rounding_does_not_break_ties():
    # 0.7 - 0.4 and 0.3 - 0 differ in the last bit, and three seeds of 0.1 do not average to 0.1.
    found = moved([{"z": 0.4, "y": 0.0, "x": 0.1}] * 3, [{"z": 0.7, "y": 0.3, "x": 0.1}], 5)
    assert [one.query for one in found] == ["y", "z"]


def test_the_teacher_is_shown_beside_them():
    teacher = {query: i / 10 for i, query in enumerate("abcdef")}
    assert {one.query: one.teacher for one in moved(BASELINE, SYSTEM, 1, teacher)} == {"a": 0.0, "e": 0.4}


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        moved(BASELINE, SYSTEM, 0)
    with pytest.raises(ValueError, match="query 'b' is not in every system"):
        moved(BASELINE, [{"a": 1.0}], 1)


def ranking(*ids):
    return Ranking(list(ids), np.arange(len(ids), 0, -1, dtype=np.float32))


def test_rows_by_hand():
    asked = []

    def documents(ids):
        asked.append(list(ids))
        return [f"text\nof {document}" for document in ids]

    moves = [Moved("a", 0.1, 0.6, 0.5, 0.2), Moved("e", 0.9, 0.1, -0.8)]
    rows = with_texts(
        moves,
        lambda ids: [f"what\tis {query}?" for query in ids],
        documents,
        {"a": ranking("d1", "d2", "d3")},
        {"a": ranking("d2", "d4", "d1"), "e": ranking("d9")},
        {"a": {"d1": 0, "d2": 3}, "e": {"d7": 1}},
        depth=2,
    )
    assert asked == [["d1", "d2", "d4", "d9"]]  # in one look-up, and no more than is shown
    assert rows[0] == {
        "query": "a",
        "text": "what is a?",
        "baseline": 0.1,
        "system": 0.6,
        "gain": 0.5,
        "teacher": 0.2,
        "baseline_top": [
            {"document": "d1", "grade": 0, "text": "text of d1"},
            {"document": "d2", "grade": 3, "text": "text of d2"},
        ],
        "system_top": [
            {"document": "d2", "grade": 3, "text": "text of d2"},
            {"document": "d4", "grade": None, "text": "text of d4"},
        ],
    }
    assert rows[1]["baseline_top"] == []
    assert rows[1]["teacher"] is None
    assert rows[1]["system_top"][0]["grade"] is None
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_nothing_moved():
    assert with_texts([], lambda ids: [], lambda ids: [], {}, {}, {}) == []


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 5, "short"),
        ("too long", 5, "too…"),  # no space before the sign
        ("toolong", 5, "tool…"),
        ("  a\r\n\tb\u2028c\u0085d\x00e  ", 20, "a b c d e"),
        ("\x1b[31mred\x1b[0m \x07", 50, "[31mred [0m"),
        ("soft\u00adhyphen \u202edrow\u202c\u200b\ufeff", 50, "softhyphen drow"),
        ("می\u200cخواهم 👩\u200d🔬", 50, "می\u200cخواهم 👩\u200d🔬"),
        ("lone \ud800 surrogate", 50, "lone surrogate"),
        ("", 3, ""),
    ],
)
def test_excerpts(text, limit, expected):
    found = excerpt(text, limit)
    assert found == expected
    assert len(found) <= limit
    found.encode()


def test_every_character_that_drives_a_terminal_is_gone():
    found = excerpt("x".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])), 1000)
    assert set(found) == {"x", " "}
