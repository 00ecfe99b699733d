"""Laws that every registered loss keeps, or declares that it does not."""

import math

import pytest
import torch
from loss_worlds import FREE_OF_TEACHER, NAMES, call, every_case, value_and_gradient
from loss_worlds import world as float64_world

SHIFTED = {"mse", "bce"}
"""Losses that look at the level of the scores."""

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
def test_shape_and_type(name, options, world):
    data = world(dtype=torch.float32)
    values = call(name, data, **options)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    half = {key: value.bfloat16() if key in ("student", "teacher") else value for key, value in data.items()}
    assert call(name, half, **options).dtype == torch.float32


@every_case
@pytest.mark.parametrize("garbage", [7.0, 1e30, -1e30, math.nan, math.inf, -math.inf])
def test_blind_to_padding(name, options, garbage, world):
    data = world()
    values, gradient = value_and_gradient(name, data, options)
    padding = ~data["mask"]
    changed = {key: value.clone() for key, value in data.items()}
    for column in ("student", "teacher", "labels"):
        changed[column][padding] = garbage
    changed["ranks"][padding] = 0
    again, gradient_again = value_and_gradient(name, changed, options)
    torch.testing.assert_close(again, values, rtol=0, atol=0)
    torch.testing.assert_close(gradient_again, gradient, rtol=0, atol=0)
    assert (gradient[padding] == 0).all()


@every_case
def test_a_teacher_that_trains_gets_no_gradient_whether_the_student_trains_or_not(name, options, world):
    data = world()
    data["teacher"].requires_grad_()
    assert not call(name, data, **options).requires_grad
    data["student"].requires_grad_()
    call(name, data, **options).sum().backward()
    assert data["teacher"].grad is None
    assert data["student"].grad.isfinite().all()


@every_case
def test_padding_is_as_good_as_absence(name, options, world):
    data = world()
    values, gradient = value_and_gradient(name, data, options)
    short = {key: value[:1, :5] for key, value in data.items()}
    alone, gradient_alone = value_and_gradient(name, short, options)
    torch.testing.assert_close(values[:1], alone)
    torch.testing.assert_close(gradient[:1, :5], gradient_alone)


@every_case
def test_equivariant_to_the_order_of_candidates(name, options, world):
    data = world()
    if options.get("rank_anchor") == "first":
        data["labels"][1, 3] = 0  # the anchor is the first listed positive: only one may be there
    values, gradient = value_and_gradient(name, data, options)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    moved = {key: value[:, order] for key, value in data.items()}
    values_moved, gradient_moved = value_and_gradient(name, moved, options)
    torch.testing.assert_close(values_moved, values)
    torch.testing.assert_close(gradient_moved, gradient[:, order])


@every_case
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equivariant_to_the_order_of_candidates_that_tie(name, options, seed, tied_world):
    data = tied_world(seed=seed)
    if options.get("rank_anchor") == "first":  # of the listed positives: only one may be there
        data["labels"][:, 1:].clamp_(max=0)
    values, gradient = value_and_gradient(name, data, options)
    for turn in range(4):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(turn))
        moved = {key: value[:, order] for key, value in data.items()}
        values_moved, gradient_moved = value_and_gradient(name, moved, options)
        torch.testing.assert_close(values_moved, values)
        torch.testing.assert_close(gradient_moved, gradient[:, order])


@every_case
def test_queries_do_not_see_one_another(name, options, world):
    data = world()
    values = call(name, data, **options)
    rows = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(call(name, {key: value[rows] for key, value in data.items()}, **options), values[rows])


@every_case
def test_shift_of_the_student(name, options, world):
    data = world()
    values, gradient = value_and_gradient(name, data, options)
    shifted, shifted_gradient = value_and_gradient(name, {**data, "student": data["student"] + 3.0}, options)
    if name in SHIFTED:
        assert (shifted - values).abs().max() > 0.1
    else:
        exact = values.dtype == torch.float64
        near = {} if exact else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(shifted, values, **near)
        torch.testing.assert_close(shifted_gradient, gradient, **near)
        torch.testing.assert_close(gradient.sum(-1), torch.zeros_like(values), rtol=0, atol=1e-9 if exact else 1e-5)


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_finite_at_extremes(name, options, dtype, size, world):
    data = world()
    signs = torch.tensor([[1, -1, 1, -1, 0.5, 1, -1]])
    for student, teacher in ((size, size), (size, -size), (-size, size), (0.0, size), (size, 0.0)):
        extreme = {**data, "student": (signs * student).expand(4, 7), "teacher": (signs * teacher).expand(4, 7)}
        extreme = {key: value.to(dtype) if key in ("student", "teacher") else value for key, value in extreme.items()}
        values, gradient = value_and_gradient(name, extreme, options)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


@every_case
def test_gradcheck(name, options):
    data = float64_world()
    student = data["student"].requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: call(name, {**data, "student": scores}, **options), (student,))


@every_case
@pytest.mark.parametrize("dtype_of_scores", [torch.float32, torch.bfloat16])
def test_autocast_changes_no_bit(name, options, dtype_of_scores):
    """For who calls a loss inside of autocast; a gradient of scores is of their type."""
    data = float64_world(dtype=torch.float32)
    data = {key: value.to(dtype_of_scores) if key in ("student", "teacher") else value for key, value in data.items()}
    expected = value_and_gradient(name, data, options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradient(name, data, options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@every_case
def test_float32_under_autocast_is_near_float64(name, options):
    data = float64_world()
    single = {key: value.float() if value.is_floating_point() else value for key, value in data.items()}
    data = {key: value.double() if value.is_floating_point() else value for key, value in single.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, gradient = value_and_gradient(name, single, options)
    expected, expected_gradient = value_and_gradient(name, data, options)
    torch.testing.assert_close(values.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-5)


@every_case
def test_teacher_gets_no_gradient(name, options, world):
    data = world()
    data["teacher"].requires_grad_()
    data["student"].requires_grad_()
    call(name, data, **options).sum().backward()
    assert data["teacher"].grad is None


@every_case
def test_teacher_is_read_or_not(name, options, world):
    data = world()
    values = call(name, data, **options)
    other = call(name, {**data, "teacher": data["teacher"].flip(0) * 2}, **options)
    if name in FREE_OF_TEACHER or options.get("target") == "labels":
        torch.testing.assert_close(other, values, rtol=0, atol=0)
        torch.testing.assert_close(call(name, {**data, "teacher": None}, **options), values, rtol=0, atol=0)
    else:
        assert not torch.allclose(other, values)


SINGLE = {
    "bkl": (0.0, 0.02 / math.log(2)),
    "mse": (4.0, 4.0),
    "bce": (None, None),
}
"""Values of a single positive and of a single negative, 0 where nothing is said; student 1, teacher 3."""


@every_case
def test_single_candidate(name, options, world):
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


NO_POSITIVES_ZERO = {"margin_mse", "info_nce", "hinge", "lambda_loss", "approx_ndcg"}


@every_case
@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_one_sided_and_tied_lists(name, options, grade, world):
    data = world()
    data["labels"].fill_(grade)
    values, gradient = value_and_gradient(name, data, options)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    if grade == 0 and name in NO_POSITIVES_ZERO:
        assert (values == 0).all()
        assert (gradient == 0).all()
    tied = {**data, "student": torch.ones_like(data["student"]), "teacher": torch.ones_like(data["teacher"])}
    values, gradient = value_and_gradient(name, tied, options)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    if name in ("ranknet", "cl_drd"):
        assert (values == 0).all()


@every_case
def test_empty_list(name, options, world):
    data = world()
    data["mask"][1] = False
    values, gradient = value_and_gradient(name, data, options)
    assert values[1] == 0
    assert (gradient[1] == 0).all()


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
