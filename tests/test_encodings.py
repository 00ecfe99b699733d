"""Compact encodings give back what was put in, in any piece and order."""

import pytest
import torch

from limbeck import gathered
from limbeck.encodings import compact, join, not_finite, reorder, rows
from limbeck.types import Vectors


def made(kind, count=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    if kind == "dense":
        return torch.randn(count, 4, generator=draw)
    if kind == "sparse":
        table = torch.relu(torch.randn(count, 9, generator=draw))
        table[1] = 0  # a text without a word
        return table
    mask = torch.rand(count, 5, generator=draw) < 0.5
    mask[:, 1] = True
    mask[2] = False
    return Vectors(torch.randn(count, 5, 3, generator=draw).masked_fill(~mask.unsqueeze(-1), 0.0), mask)


def texts(encoding):
    """One value a text that says all of it."""
    if isinstance(encoding, Vectors):
        return [v[m].tolist() for v, m in zip(encoding.values, encoding.mask, strict=True)]
    return encoding.tolist()


KINDS = pytest.mark.parametrize("kind", ["dense", "sparse", "multi"])


@KINDS
def test_what_goes_in_comes_out(kind):
    given = made(kind)
    packed = compact(given, kind)
    assert (packed.kind, len(packed)) == (kind, 7)
    assert texts(packed.take(slice(None))) == texts(given)
    chosen = torch.tensor([4, 0, 4, 2])
    assert texts(packed.take(chosen)) == [texts(given)[i] for i in chosen.tolist()]
    assert texts(packed.take(slice(2, 2))) == []


@KINDS
def test_pieces_orders_and_joins(kind):
    packed, expected = compact(made(kind), kind), texts(made(kind))
    assert texts(packed.part(2, 5).take(slice(None))) == expected[2:5]
    assert texts(packed.part(5, 99).take(slice(None))) == expected[5:]
    order = torch.tensor([6, 1, 1, 3, 0])
    assert texts(reorder(packed, order).take(slice(None))) == [expected[i] for i in order.tolist()]
    other = made(kind, 3, seed=1)
    both = join([packed.part(0, 4), packed.part(4, 7), compact(other, kind)])
    assert texts(both.take(slice(None))) == expected + texts(other)
    again = rows(kind, {name: torch.from_numpy(a.numpy()) for name, a in both.arrays().items()}, both.width)
    assert texts(again.take(slice(None))) == expected + texts(other)


@KINDS
def test_texts_are_put_in_order_as_they_come(kind, monkeypatch):
    """The first ones have less in them than all others, so that the arrays must grow."""
    monkeypatch.setattr(gathered, "_TAKEN", 3)
    packed, expected = compact(made(kind), kind), texts(made(kind))
    whole = gathered.Gathered(len(expected))
    for group in ([1, 2], [5, 0, 3], [6, 4]):
        whole.add(reorder(packed, torch.tensor(group)), group)
    found = whole.rows()
    assert texts(found.take(slice(None))) == expected
    assert {name: value.dtype for name, value in found.arrays().items()} == {
        name: value.dtype for name, value in packed.arrays().items()
    }
    with pytest.raises(ValueError, match="nothing to join"):
        gathered.Gathered(0).rows()


def test_only_what_is_there_is_kept():
    packed = compact(made("sparse"), "sparse")
    assert len(packed.arrays()["values"]) == int((made("sparse") != 0).sum())
    assert (packed.arrays()["values"] != 0).all()
    vectors = made("multi")
    assert len(compact(vectors, "multi").arrays()["values"]) == int(vectors.mask.sum())


@KINDS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_first_text_with_a_value_that_is_no_number_is_found(kind, value):
    packed = compact(made(kind), kind)
    assert not_finite(packed) is None
    for text in (6, 3):  # texts 1 and 2 are empty where a kind allows it
        place = text if kind == "dense" else int(packed.arrays()["offsets"][text])
        packed.arrays()["values"][place] = value
        assert not_finite(packed) == text


def test_errors():
    with pytest.raises(ValueError, match="kind must be one of dense, sparse, multi, got 'wide'"):
        rows("wide", {})
    with pytest.raises(ValueError, match="size of the vocabulary"):
        rows("sparse", {})
    with pytest.raises(ValueError, match="nothing to join"):
        join([])
