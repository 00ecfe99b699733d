"""Laws that every registered loss obeys, or declares that it does not; and some that hold of a few."""

import math

import pytest
import torch
from loss_worlds import NAMES, TERMS, every_case, function, value_and_gradient

from limbeck.losses import laws
from limbeck.losses.cases import Case
from limbeck.losses.on_scores import contract

PERFECT = {
    "zero": {"kl", "reverse_kl", "js", "mse", "margin_mse", "ckl", "focal_kl"},
    "stationary": {"kl", "reverse_kl", "js", "mse", "margin_mse", "bce", "list_net"},
}
"""Losses that are 0, and that have no gradient, where the student's scores are the teacher's. The others look at order
or labels, or (CKL, focal KL) keep pushing: their gradient there is Σ over terms of -w p (δ - q)."""


def test_registry_holds_every_loss_of_the_issue():
    wanted = "kl reverse_kl js bkl kl_ll margin_mse mse bce list_net ranknet adr_mse rank_mse approx_ndcg lambda_loss"
    assert set(NAMES) >= {*wanted.split(), "ckl", "focal_kl", "hinge", "info_nce", "cl_drd", "flops", "l1"}


@every_case
def test_laws(name, options):
    assert laws.broken(Case(function(name), options), without=(laws.compiles,)) == []


GENERAL = Case(function("weighted_kl"), {"positive_weight": lambda q: 1 - q, "negative_weight": lambda q: q**1.5})


def test_all_compile_as_one_graph():
    """Dynamo reads all; AOT, which takes longer, those with most kinds of operations.

    In ``test_finite.py`` fake tensors, with which AOT traces, give values and gradients of all.
    """
    laws.compiles(*(Case(function(name)) for name in [*TERMS, "info_nce", "weighted_kl"]), GENERAL, backend="eager")
    laws.compiles(*(Case(function(name)) for name in ("info_nce", "lambda_loss")))


def test_laws_of_the_general_form():
    for law in laws.ONCE:
        if law is not laws.compiles:
            law(GENERAL)


def test_who_breaks_a_law_says_so():
    functions = [function(name) for name in [*TERMS, "info_nce"]]
    assert {each.__name__ for each in functions if not contract(each).shift_invariant} == {"mse", "bce"}
    assert {each.__name__: each.contract.by_listing for each in functions if each.contract.by_listing} == {
        "ckl": {"rank_anchor": "first"}
    }


SINGLE = {
    "bkl": (0.0, 1.92 / math.log(2)),
    "mse": (4.0, 4.0),
    "bce": (None, None),
}
"""Values of a single positive and of a single negative, 0 where nothing is said; student 1, teacher 3."""


@every_case
def test_single_candidate(name, options):
    for label, place in ((1.0, 0), (0.0, 1)):
        columns = {"student": 1.0, "teacher": 3.0, "labels": label, "mask": True, "ranks": 4}
        data = {key: torch.tensor([[value]]) for key, value in columns.items()}
        values, gradient = value_and_gradient(name, data, options)
        assert gradient.isfinite().all()
        expected = SINGLE.get(name, (0.0, 0.0))[place]
        if expected is None:
            y = 1 / (1 + math.exp(-3)) if options.get("target") != "labels" else label
            expected = y * math.log1p(math.exp(-1)) + (1 - y) * math.log1p(math.e)
        assert values.item() == pytest.approx(expected, abs=1e-6)


NO_POSITIVES_ZERO = ["approx_ndcg", "hinge", "info_nce", "lambda_loss", "margin_mse"]
TIED_ZERO = ["cl_drd", "ranknet"]


@pytest.mark.parametrize("name", NO_POSITIVES_ZERO)
def test_without_positives_there_is_nothing_to_learn(name, world):
    data = world()
    values, gradient = value_and_gradient(name, {**data, "labels": torch.zeros_like(data["labels"])}, {})
    assert (values == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", TIED_ZERO)
def test_of_a_teacher_that_ties_all_there_is_no_order_to_learn(name, world):
    data = world()
    values, _ = value_and_gradient(name, {**data, "teacher": torch.ones_like(data["teacher"])}, {})
    assert (values == 0).all()


@pytest.mark.parametrize("name", sorted(PERFECT["zero"] | PERFECT["stationary"]))
def test_perfect_student(name, world):
    data = world()
    perfect = {**data, "student": data["teacher"]}
    values, gradient = value_and_gradient(name, perfect, {})
    exact = values.dtype == torch.float64
    if name in PERFECT["zero"]:
        torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1e-12 if exact else 1e-6)
    if name in PERFECT["stationary"]:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9 if exact else 1e-6)
    else:
        assert gradient.abs().max() > 1e-6
