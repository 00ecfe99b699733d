"""Queries and judgments in columns are what dicts of them are."""

import numpy as np
import pytest

from limbeck.data import columns
from limbeck.data.columns import Judgments, Lines, Texts


@pytest.fixture(params=[2, 4096])
def block(request, monkeypatch):
    monkeypatch.setattr(columns, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_texts_are_a_mapping():
    plain = {"q10": "ten", "q9": "", "日本": "Japan", "7": "seven", "é": "e", "q1": "one"}
    texts = Texts.of(plain.items())
    assert texts == plain
    assert (list(texts), list(texts.values()), len(texts)) == (list(plain), list(plain.values()), 6)
    assert [texts[query] for query in reversed(plain)] == list(reversed(plain.values()))
    assert ("q9" in texts, "q" in texts, texts.get("q")) == (True, False, None)
    with pytest.raises(KeyError):
        texts["q"]
    assert list(texts.in_order()) == sorted(plain.items())
    part = texts.part(2, 5)
    assert list(part.items()) == list(plain.items())[2:5]
    assert (part["é"], "q1" in part) == ("e", False)
    assert dict(texts.only(Texts.of([("7", ""), ("x", "")]).ids)) == {"7": "seven"}
    assert texts.only(texts.ids) is texts
    assert list(Texts.of([("b", "1"), ("a", "2"), ("b", "3")]).items()) == [("b", "3"), ("a", "2")]
    assert not Texts.of([])


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("doubled", [False, True])
def test_judgments_are_a_mapping(doubled):
    rng = np.random.default_rng(3)
    pairs = [(f"q{q}", f"d{d}") for q in range(7) for d in range(q)]  # q0 has none
    lines = [(query, document, int(rng.integers(0, 4))) for query, document in rng.permutation(pairs).tolist()]
    lines += [(query, document, 9) for query, document, _ in lines[3:5]] if doubled else []
    plain = {}
    for query, document, grade in lines:
        plain.setdefault(query, {})[document] = grade
    texts = Texts.of((f"q{q}", "") for q in (5, 1, 6, 2))  # the others have no text
    judged = Judgments.read(texts, Lines.of(lines))
    assert list(judged) == ["q5", "q1", "q6", "q2"]
    assert {query: list(grades.items()) for query, grades in judged.items()} == {
        query: list(plain[query].items()) for query in texts
    }
    assert [judged[query] for query in reversed(list(judged))] == list(judged.values())[::-1]
    assert ("q3" in judged, judged.get("q3"), len(judged)) == (False, None, 4)
    assert Judgments.of(texts, judged.values()) == judged
