"""Numbers that are not finite: refused by name, or NaN in the value of that query and of no other."""

import math
import re
from itertools import product

import pytest
import torch
from loss_worlds import ON_SCORES, batch_of, call, every_case, function, made, output_of, value_and_gradient, world
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from limbeck.losses.diagnostics import diagnostics
from limbeck.losses.finite import answering_nan, sound
from limbeck.losses.info_nce import info_nce
from limbeck.training.objective import Objective

NUMBERS = [math.nan, math.inf, -math.inf]


def spoiled(data, column, number, place=(1, 2)):
    """Put a number in place of that of one candidate."""
    changed = data[column].double().clone()
    changed[place] = number
    return {**data, column: changed}


def read(name, options):
    """Return the columns that a loss reads: its values change with them."""
    data = world()
    values = call(name, data, **options)
    of = {"student": data["student"] * 2, "teacher": data["teacher"].flip(0), "ranks": data["ranks"].flip(-1)}
    of["labels"] = data["labels"].flip(-1)
    return {key for key, value in of.items() if not torch.equal(call(name, {**data, key: value}, **options), values)}


@every_case
def test_refused_by_name_where_it_is_read(name, options):
    reads, clean = read(name, options), call(name, world(), **options)
    for column, number in product(["student", "teacher", "labels", "ranks"], NUMBERS):
        data = spoiled(world(), column, number)
        if column in reads:
            with pytest.raises(ValueError, match=rf"^{column} must be finite.* {number} for query 1, candidate 2 \("):
                call(name, data, **options)
        else:
            torch.testing.assert_close(call(name, data, **options), clean, rtol=0, atol=0)


@every_case
def test_otherwise_nan_for_this_query_alone(name, options):
    clean, clean_gradient = value_and_gradient(name, world(), options)
    others = torch.tensor([0, 2, 3])
    for column, number in product(read(name, options), NUMBERS):
        with answering_nan():
            values, gradient = value_and_gradient(name, spoiled(world(), column, number), options)
        assert values[1].isnan()
        assert (gradient[1].isnan() | (gradient[1] == 0)).all()
        torch.testing.assert_close(values[others], clean[others], rtol=0, atol=0)
        torch.testing.assert_close(gradient[others], clean_gradient[others], rtol=0, atol=0)


@every_case
def test_no_loss_waits_for_a_device(name, options):
    """Tensors without numbers stand for those of a GPU: what would read a number back fails with them."""
    with FakeTensorMode(), answering_nan():
        data = {key: torch.empty(4, 7, dtype=value.dtype) for key, value in world().items()}
        with pytest.raises(DataDependentOutputException):
            bool(data["mask"].any())
        values, gradient = value_and_gradient(name, data, options)
    assert (values.shape, gradient.shape) == ((4,), (4, 7))


def test_what_is_not_on_a_cpu_is_not_read_back(monkeypatch):
    def waited(self):
        raise AssertionError("a number was read back from the device")

    monkeypatch.setattr(torch.Tensor, "__bool__", waited)
    teacher = torch.full((4, 7), math.nan, device="meta")
    assert sound(torch.ones(4, 7, dtype=torch.bool, device="meta"), teacher=teacher).is_meta


def test_further_negatives():
    data = world()
    others = torch.zeros(4, 2)
    others[0, 1], others[3, 0] = math.nan, math.inf
    counts = torch.tensor([[True, False], [True, True], [True, True], [True, True]])
    given = {"others": others, "others_mask": counts}
    with pytest.raises(
        ValueError, match=r"^others must be finite.* inf for query 3, candidate 0 \(.*; 1 such in all\)"
    ):
        info_nce(data["student"], None, data["labels"], data["mask"], **given)
    with answering_nan():
        values = info_nce(data["student"], None, data["labels"], data["mask"], **given)
    assert values.isnan().tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", ["flops", "l1"])
def test_embeddings(name):
    embeddings = torch.ones(3, 4)
    embeddings[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"^embeddings must be finite.* nan for text 2, entry 1 "):
        function(name)(embeddings)
    with answering_nan():
        assert function(name)(embeddings).isnan()


@pytest.mark.parametrize("name", ["embedding_mse", "embedding_cosine"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_vectors(name, side):
    given = {"student": torch.ones(3, 4), "teacher": torch.ones(3, 4)}
    given[side][2, 1] = math.inf
    with pytest.raises(ValueError, match=rf"^{side} must be finite.* inf for text 2, component 1 "):
        function(name)(**given)
    with answering_nan():
        assert function(name)(**given).isfinite().tolist() == [True, True, False]


@pytest.mark.parametrize("name", ON_SCORES)
def test_a_training_is_not_ended_by_a_loss(name):
    """The objective answers NaN, which its guards look at, whatever the loss and its measurements do otherwise."""
    for number in NUMBERS:
        data = spoiled(world(), "student", number)
        total, values = Objective({name: made(name)})(output_of(data), batch_of(data))
        assert total.isnan()
        assert values["kl_to_teacher"].isnan()


def test_diagnostics_of_what_is_not_finite():
    data = spoiled(world(), "teacher", math.nan)
    gradient = torch.ones_like(data["student"])
    found = diagnostics(data["student"], gradient, data["teacher"], data["labels"], data["mask"])
    assert found["kl_to_teacher"].isnan()


def test_refusals_return_behind_answers():
    data = spoiled(world(), "teacher", math.nan)
    with pytest.raises(RuntimeError), answering_nan():
        raise RuntimeError
    with pytest.raises(ValueError, match=re.escape("set mask=False for candidates without a value")):
        call("kl", data)
