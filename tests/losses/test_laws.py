"""Laws that every registered loss keeps, or declares that it does not."""

import inspect
import math

import pytest
import torch
from loss_worlds import NAMES, ON_SCORES, batch_of, call, function, module, output_of, world

from limbeck.losses.base import Loss

SHIFTED = {"mse", "bce"}
"""Losses that look at the level of the scores."""

PERFECT = {
    "zero": {"kl", "reverse_kl", "js", "mse", "margin_mse", "ckl", "focal_kl"},
    "stationary": {"kl", "reverse_kl", "js", "mse", "margin_mse", "bce", "list_net"},
}
"""Losses that are 0, and that have no gradient, where the student's scores are the teacher's. The others look at order
or labels, or (CKL, focal KL) keep pushing: their gradient there is Σ over terms of -w p (δ - q)."""

FREE_OF_TEACHER = {"info_nce", "hinge", "lambda_loss", "approx_ndcg"}

OPTIONS = {
    "ckl": [{}, {"rank_source": "student"}, {"rank_anchor": "first"}, {"rank_anchor": "mean"}, {"reduction": "mean"}],
    "bce": [{}, {"target": "labels"}],
    "list_net": [{}, {"target": "labels"}],
    "adr_mse": [{}, {"discount": "reciprocal"}],
    "approx_ndcg": [{"temperature": 1.0}, {"gain": "linear", "temperature": 0.5}],
    "cl_drd": [{}, {"top": 1}],
}
CASES = [(name, options) for name in ON_SCORES for options in OPTIONS.get(name, [{}])]
IDS = [name + "".join(f"-{key}={value}" for key, value in options.items()) for name, options in CASES]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


def value_and_gradient(name, data, options):
    student = data["student"].clone().requires_grad_()
    values = call(name, {**data, "student": student}, **options)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    return values.detach(), gradient


def test_registry_holds_every_loss_of_the_issue():
    wanted = "kl reverse_kl js bkl kl_ll margin_mse mse bce list_net ranknet adr_mse rank_mse approx_ndcg lambda_loss"
    assert set(NAMES) >= {*wanted.split(), "ckl", "focal_kl", "hinge", "info_nce", "cl_drd", "flops", "l1"}


@every_case
def test_shape_and_type(name, options):
    data = world(dtype=torch.float32)
    values = call(name, data, **options)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    half = {key: value.bfloat16() if key in ("student", "teacher") else value for key, value in data.items()}
    assert call(name, half, **options).dtype == torch.float32


@every_case
@pytest.mark.parametrize("garbage", [7.0, 1e30, -1e30, math.nan, math.inf, -math.inf])
def test_blind_to_padding(name, options, garbage):
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
def test_a_teacher_that_trains_gets_no_gradient_whether_the_student_trains_or_not(name, options):
    data = world()
    data["teacher"].requires_grad_()
    assert not call(name, data, **options).requires_grad
    data["student"].requires_grad_()
    call(name, data, **options).sum().backward()
    assert data["teacher"].grad is None
    assert data["student"].grad.isfinite().all()


@every_case
def test_padding_is_as_good_as_absence(name, options):
    data = world()
    values, gradient = value_and_gradient(name, data, options)
    short = {key: value[:1, :5] for key, value in data.items()}
    alone, gradient_alone = value_and_gradient(name, short, options)
    torch.testing.assert_close(values[:1], alone)
    torch.testing.assert_close(gradient[:1, :5], gradient_alone)


@every_case
def test_equivariant_to_the_order_of_candidates(name, options):
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
def test_queries_do_not_see_one_another(name, options):
    data = world()
    values = call(name, data, **options)
    rows = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(call(name, {key: value[rows] for key, value in data.items()}, **options), values[rows])


@every_case
def test_shift_of_the_student(name, options):
    data = world()
    values, gradient = value_and_gradient(name, data, options)
    shifted, shifted_gradient = value_and_gradient(name, {**data, "student": data["student"] + 3.0}, options)
    if name in SHIFTED:
        assert (shifted - values).abs().max() > 0.1
    else:
        torch.testing.assert_close(shifted, values)
        torch.testing.assert_close(shifted_gradient, gradient)
        torch.testing.assert_close(gradient.sum(-1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-9)


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_finite_at_extremes(name, options, dtype, size):
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
    data = world()
    student = data["student"].requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: call(name, {**data, "student": scores}, **options), (student,))


@every_case
def test_teacher_gets_no_gradient(name, options):
    data = world()
    data["teacher"].requires_grad_()
    data["student"].requires_grad_()
    call(name, data, **options).sum().backward()
    assert data["teacher"].grad is None


@every_case
def test_teacher_is_read_or_not(name, options):
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


NO_POSITIVES_ZERO = {"margin_mse", "info_nce", "hinge", "lambda_loss", "approx_ndcg"}


@every_case
@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_one_sided_and_tied_lists(name, options, grade):
    data = world()
    data["labels"].fill_(grade)
    values, gradient = value_and_gradient(name, data, options)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    if grade == 0 and name in NO_POSITIVES_ZERO:
        assert (values == 0).all()
        assert (gradient == 0).all()
    tied = {**data, "student": torch.ones(4, 7).double(), "teacher": torch.ones(4, 7).double()}
    values, gradient = value_and_gradient(name, tied, options)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    if name in ("ranknet", "cl_drd"):
        assert (values == 0).all()


@every_case
def test_empty_list(name, options):
    data = world()
    data["mask"][1] = False
    values, gradient = value_and_gradient(name, data, options)
    assert values[1] == 0
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize("name", sorted(PERFECT["zero"] | PERFECT["stationary"]))
def test_perfect_student(name):
    data = world()
    perfect = {**data, "student": data["teacher"]}
    values, gradient = value_and_gradient(name, perfect, {})
    if name in PERFECT["zero"]:
        torch.testing.assert_close(values, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    if name in PERFECT["stationary"]:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)
    else:
        assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_module_passes_its_options_on(name):
    """Every option, set to something else, changes the value just as it does for the function."""
    kind = module(name)
    data = world()
    output, batch = output_of(data), batch_of(data)
    plain = kind()(output, batch)
    for option in other_options(name):
        made = kind(**option)
        value = made(output, batch)
        (key,) = set(option) - {"in_batch"}
        expected = expectation(name, option, data, output)
        if expected is None:
            continue
        assert not torch.allclose(value, plain), f"{key} has no effect"
        torch.testing.assert_close(value, expected)


def other_options(name):
    """One mapping for each option of a loss that the function has too."""
    known = inspect.signature(function(name)).parameters
    choices = {
        "rank_source": "student", "rank_anchor": "mean", "reduction": "mean", "target": "labels",
        "discount": "reciprocal", "gain": "linear", "detach_weights": True,
    }  # fmt: skip
    for key, parameter in inspect.signature(module(name)).parameters.items():
        if key in known and key not in ("top", "gather", "detach_weights"):
            yield {key: choices.get(key) or parameter.default * 0.7}


def expectation(name, option, data, output):
    if name not in ON_SCORES:
        return None
    return call(name, {**data, "student": output.scores}, **option).mean()


@pytest.mark.parametrize("name", NAMES)
def test_module_contract(name):
    kind = module(name)
    assert issubclass(kind, Loss)
    parameters = inspect.signature(kind).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert {"weight", "schedules"} <= set(parameters)
    made = kind(weight=0.25)
    assert made.weight == 0.25
    assert not made.state_dict()
    assert set(made.needs) <= {"teacher_scores", "teacher_order", "ranks", "embeddings", "term_weights"}
    data = world()
    value = made(output_of(data), batch_of(data))
    assert value.shape == ()
    torch.testing.assert_close(kind()(output_of(data), batch_of(data)), value)  # weight is the objective's affair


@pytest.mark.parametrize("name", ON_SCORES)
def test_needs_are_what_it_reads(name):
    data = world()
    batch = batch_of(data)
    made = module(name)()
    if not {"teacher_scores", "teacher_order"} & set(made.needs):
        batch.teacher_scores = None
    if "ranks" not in made.needs:
        batch.ranks = None
    assert made(output_of(data), batch).isfinite()


@pytest.mark.parametrize("name", ON_SCORES)
def test_who_needs_only_the_order_of_the_teacher_does_not_see_more(name):
    data = world()
    changed = {**data, "teacher": (data["teacher"] / 4).exp()}  # the same order
    values, again = call(name, data), call(name, changed)
    if "teacher_scores" in module(name)().needs:
        assert not torch.allclose(again, values)
    else:
        torch.testing.assert_close(again, values, rtol=0, atol=0)


def test_needs_follow_the_options():
    assert module("ckl")().needs == ("teacher_scores", "ranks")
    assert module("ckl")(rank_source="student").needs == ("teacher_scores",)
    assert module("bce")(target="labels").needs == ()
    assert module("list_net")(target="labels").needs == ()
    assert module("info_nce")(in_batch=True).needs == ("embeddings",)


BAD = {
    "weight": [math.nan, math.inf],
    "gamma": [-1.0, math.nan],
    "alpha": [-1.0],
    "beta": [-0.1, math.nan],
    "sigma": [0.0, -1.0],
    "mu": [-1.0],
    "margin": [0.0],
    "temperature": [0.0, -1.0, math.nan, math.inf],
    "student_temperature": [0.0, -1.0],
    "teacher_temperature": [0.0, -1.0],
    "query_weight": [-1.0],
    "document_weight": [-1.0],
    "warmup_steps": [-1],
    "rank_source": ["teacher"],
    "rank_anchor": ["worst"],
    "reduction": ["max"],
    "target": ["students"],
    "discount": ["none"],
    "gain": ["square"],
    "top": [[], [0, 1, 2], [5]],
    "starts": [[0], [1, 2, 3], [0, 5, 5]],
}


@pytest.mark.parametrize("name", NAMES)
def test_options_out_of_range_are_refused_by_name(name):
    kind = module(name)
    for key in inspect.signature(kind).parameters:
        if key in ("schedules", "in_batch", "gather", "mask_positives", "detach_weights"):
            continue
        for value in BAD[key]:
            with pytest.raises(ValueError, match=rf"^({key}|starts)\b"):
                kind(**{key: value})


def test_gather_alone_is_refused():
    with pytest.raises(ValueError, match=r"^gather needs in_batch"):
        module("info_nce")(gather=True)


@pytest.mark.parametrize(("gamma", "alpha"), [(1.0, 1.0), (0.5, 1.0), (0.0, 0.1)])
def test_exponents_that_could_vanish_are_refused(gamma, alpha):
    with pytest.raises(ValueError, match=r"^gamma must be > alpha"):
        module("ckl")(gamma=gamma, alpha=alpha)


def test_js_beta_below_one():
    with pytest.raises(ValueError, match=r"^beta must be between"):
        module("js")(beta=1.0)
