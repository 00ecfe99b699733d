"""The general form: its special cases, its gradient in closed form, its numerics."""

import pytest
import torch
import torch.nn.functional as F
from loss_worlds import batch_of, made, output_of, world

from limbeck.losses.ckl import ckl
from limbeck.losses.focal_kl import focal_kl
from limbeck.losses.kl import kl
from limbeck.losses.weighted_kl import complement_power, power, unweighted, weighted_kl


def gradient_of(function, data, *extra, **options):
    student = data["student"].clone().requires_grad_()
    values = function(student, data["teacher"], data["labels"], data["mask"], *extra, **options)
    return values.detach(), torch.autograd.grad(values.sum(), student)[0]


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one[1], other[1], rtol=1e-12, atol=1e-14)


TEMPERATURES = {"student_temperature": 0.7, "teacher_temperature": 1.9}


def test_kl_is_the_unweighted_sum():
    data = world()
    zero = {"positive_weight": power(0.0), "negative_weight": complement_power(0.0)}
    assert_same(gradient_of(kl, data, **TEMPERATURES), gradient_of(weighted_kl, data, **TEMPERATURES))
    assert_same(gradient_of(kl, data, **TEMPERATURES), gradient_of(weighted_kl, data, **zero, **TEMPERATURES))
    full = {**data, "mask": torch.ones_like(data["mask"])}
    log_q, log_p = F.log_softmax(data["student"], -1), F.log_softmax(data["teacher"], -1)
    expected = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
    torch.testing.assert_close(gradient_of(kl, full)[0].mean(), expected)


def test_ckl_without_ranks_is_focal_kl_and_without_weights_is_kl():
    data = world()
    found = gradient_of(ckl, data, data["ranks"], gamma=2.5, alpha=0.0, **TEMPERATURES)
    assert_same(found, gradient_of(focal_kl, data, gamma=2.5, **TEMPERATURES))
    found = gradient_of(ckl, data, data["ranks"], gamma=0.0, alpha=0.0, **TEMPERATURES)
    assert_same(found, gradient_of(kl, data, **TEMPERATURES))
    assert_same(gradient_of(focal_kl, data, gamma=0.0), gradient_of(kl, data))


def test_ckl_is_the_general_form_with_its_weights():
    data = world()
    reciprocal = 1 / data["ranks"].double()
    best = (reciprocal * ((data["labels"] > 0) & data["mask"])).amax(-1, keepdim=True)
    weights = {"positive_weight": complement_power(3.0), "negative_weight": power(3.0 - 1.2 * (reciprocal - best))}
    found = gradient_of(ckl, data, data["ranks"], gamma=3.0, alpha=1.2)
    assert_same(found, gradient_of(weighted_kl, data, **weights))


def test_weights_are_functions_of_q():
    data = world()
    shipped = {"positive_weight": complement_power(2.0), "negative_weight": power(1.5)}
    own = {"positive_weight": lambda q: (1 - q) ** 2, "negative_weight": lambda q: q * q.sqrt()}
    one, other = gradient_of(weighted_kl, data, **shipped), gradient_of(weighted_kl, data, **own)
    torch.testing.assert_close(one, other)


def test_weights_of_a_single_probability():
    q = torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(power(0.5)(q), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(power(torch.tensor([1.0, 2.0, 3.0]))(q), torch.tensor([0.0, 1 / 16, 1.0]))
    torch.testing.assert_close(complement_power(2.0)(q), torch.tensor([1.0, 9 / 16, 0.0]))
    assert unweighted(q).tolist() == [1, 1, 1]


@pytest.mark.parametrize("weight", [power(0.3), power(0.0), complement_power(0.3), complement_power(0.0)])
@pytest.mark.parametrize("gap", [50.0, 200.0, 3000.0])
def test_slopes_of_weights_are_finite_where_q_is_0_or_1(weight, gap):
    data = {key: value[:1] for key, value in world().items()}
    data["student"] = torch.tensor([[gap, 0.0, -gap, 1.0, gap / 2, 0.0, 0.0]])
    data["teacher"] = data["teacher"].float()
    values, gradient = gradient_of(weighted_kl, data, positive_weight=weight, negative_weight=weight)
    assert values.isfinite().all()
    assert gradient.isfinite().all()


def test_only_one_side_weighted():
    data = world()
    found, _ = gradient_of(weighted_kl, data, negative_weight=power(2.0))
    log_q = torch.log_softmax(data["student"].masked_fill(~data["mask"], -1e9), -1)
    log_p = torch.log_softmax(data["teacher"].masked_fill(~data["mask"], -1e9), -1)
    weight = torch.where(data["labels"] > 0, 1.0, log_q.exp() ** 2)
    terms = (weight * log_p.exp() * (log_p - log_q)).masked_fill(~data["mask"], 0.0)
    torch.testing.assert_close(found, terms.sum(-1))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("detach", [False, True])
def test_gradient_of_ckl_is_the_closed_form(detach, temperature):
    """∂L/∂s_i = a_i - q_i Σ a, with a of positives and of negatives as the page on the paper derives them."""
    data = world()
    gamma, alpha = 4.0, 1.5
    for row in range(4):
        one = {key: value[row : row + 1, data["mask"][row]] for key, value in data.items()}
        extra = {"gamma": gamma, "alpha": alpha, "detach_weights": detach, "student_temperature": temperature}
        _, found = gradient_of(ckl, one, one["ranks"], **extra)
        q, p = torch.softmax(one["student"][0] / temperature, -1), torch.softmax(one["teacher"][0], -1)
        is_positive, r = one["labels"][0] > 0, 1 / one["ranks"][0].double()
        anchor = r[is_positive].max() if is_positive.any() else 0.0
        k = gamma - alpha * (r - anchor)
        if detach:
            a = torch.where(is_positive, -p * (1 - q) ** gamma, -p * q**k)
        else:
            of_positive = -p * (1 - q) ** (gamma - 1) * (gamma * q * (p / q).log() + 1 - q)
            a = torch.where(is_positive, of_positive, p * q**k * (k * (p / q).log() - 1))
        torch.testing.assert_close(found[0], (a - q * a.sum()) / temperature, rtol=1e-9, atol=1e-12)


def test_detached_weights_are_constants_of_the_gradient():
    data = world()
    student = data["student"].clone().requires_grad_()
    log_q = torch.log_softmax(student.masked_fill(~data["mask"], -1e9), -1)
    p = torch.softmax(data["teacher"].masked_fill(~data["mask"], -1e9), -1)
    q = log_q.detach().exp()
    weight = torch.where(data["labels"] > 0, (1 - q) ** 2, q**2)
    (expected,) = torch.autograd.grad(-(weight * p * log_q).sum(), student)
    values, found = gradient_of(
        weighted_kl, data, positive_weight=complement_power(2.0), negative_weight=power(2.0), detach_weights=True
    )
    torch.testing.assert_close(found, expected)
    attached, other = gradient_of(focal_kl, data, gamma=2.0)
    torch.testing.assert_close(values, attached)
    assert not torch.allclose(found, other)
    term = made("ckl", detach_weights=True)
    scores = output_of(data)
    scores.scores = data["student"].clone().requires_grad_()
    (through,) = torch.autograd.grad(term(scores, batch_of(data)), scores.scores)
    _, direct = gradient_of(ckl, data, data["ranks"], detach_weights=True)
    torch.testing.assert_close(through * 4, direct)


def test_weights_and_ranks_are_not_written_to():
    data = world()
    exponent, before = torch.full((4, 7), 2.0).double(), {key: value.clone() for key, value in data.items()}
    gradient_of(weighted_kl, data, positive_weight=power(exponent), negative_weight=power(exponent))
    gradient_of(ckl, {**data}, data["ranks"].double())
    gradient_of(ckl, {**data}, data["ranks"])
    assert (exponent == 2).all()
    for key, value in before.items():
        torch.testing.assert_close(data[key], value, rtol=0, atol=0)


def test_float_ranks_are_not_written_to():
    data = world()
    ranks = data["ranks"].double()
    gradient_of(ckl, data, ranks)
    torch.testing.assert_close(ranks, data["ranks"].double())


@pytest.mark.parametrize("gap", [5.0, 17.0, 30.0, 100.0, 1000.0])
@pytest.mark.parametrize("gamma", [0.5, 5.0])
def test_float32_agrees_with_float64_up_to_q_of_0_and_1(gap, gamma):
    """Where q → 1 float32 cannot tell 1-q from 0: the difference stays below its resolution."""
    rows = [[gap, 0.0, -1.0], [0.0, gap, -gap], [-gap, 0.0, 0.5]]
    data = {key: value[:3, :3].clone() for key, value in world().items()}
    data["student"] = torch.tensor(rows).double()
    data["labels"] = torch.tensor([[1.0, 0, 0]]).repeat(3, 1).double()
    data["mask"][:] = True
    exact = gradient_of(ckl, data, data["ranks"], gamma=gamma, alpha=0.2)
    single = {key: value.float() if value.is_floating_point() else value for key, value in data.items()}
    found = gradient_of(ckl, single, data["ranks"], gamma=gamma, alpha=0.2)
    for one, other in zip(found, exact, strict=True):
        assert one.isfinite().all()
        assert ((one - other).abs() <= 2e-3 * other.abs().clamp(min=1)).all()


def test_bfloat16_is_computed_in_float32():
    data = world()
    half = {key: value.bfloat16() if key in ("student", "teacher") else value for key, value in data.items()}
    single = {key: value.float() if key in ("student", "teacher") else value for key, value in half.items()}
    torch.testing.assert_close(
        ckl(half["student"], half["teacher"], half["labels"], half["mask"], half["ranks"]),
        ckl(single["student"], single["teacher"], single["labels"], single["mask"], single["ranks"]),
        rtol=0,
        atol=0,
    )


def test_gradient_twice_is_the_same():
    data = world()
    student = data["student"].requires_grad_()
    value = kl(student, data["teacher"], data["labels"], data["mask"]).sum()
    (first,) = torch.autograd.grad(value, student, retain_graph=True)
    (second,) = torch.autograd.grad(value * 2, student)
    torch.testing.assert_close(second, 2 * first)
