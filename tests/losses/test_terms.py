"""Every registered loss as a term of the objective: its options, what it says that it needs, what it refuses."""

import inspect
import math
import pickle

import pytest
import torch
from loss_worlds import NAMES, ON_SCORES, TERMS, batch_of, call, function, made, options_of, output_of, world
from torch import Tensor

from limbeck.losses.base import Loss
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.term import Term


@pytest.mark.parametrize("name", ON_SCORES)
def test_a_term_passes_its_options_on(name, dtype):
    """Every option, set to something else, changes the value just as it does for the function."""
    data = world(dtype=dtype)
    output, batch = output_of(data), batch_of(data)
    plain = made(name)(output, batch)
    for option in other_options(name):
        value = made(name, **option)(output, batch)
        assert not torch.allclose(value, plain), f"{option} has no effect"
        torch.testing.assert_close(value, call(name, data, **option).mean())


def other_options(name):
    """One mapping for each option of a loss that the function has too."""
    known = inspect.signature(function(name)).parameters
    choices = {
        "rank_source": "student", "rank_anchor": "mean", "reduction": "mean", "target": "labels",
        "discount": "reciprocal", "gain": "linear", "detach_weights": True,
        "positive_exponent": "rank", "negative_log": "complement", "against": "best",
        "evidence": "order",
    }  # fmt: skip
    for key, default in options_of(name).items():
        if key in known and key != "detach_weights":  # which changes the gradient alone
            yield {key: choices.get(key) or type(default)(default * 0.7)}


FIELDS = {"teacher_scores", "teacher_order", "ranks", "embeddings", "term_weights", "vectors", "teacher_vectors"}


@pytest.mark.parametrize("name", NAMES)
def test_every_term_has_a_weight_that_is_the_objectives_affair_and_no_state(name):
    assert {"weight", "schedules"} <= set(options_of(name))
    term = made(name, weight=0.25)
    assert isinstance(term, Loss)
    assert term.weight == 0.25
    assert not term.state_dict()
    assert set(term.needs) <= FIELDS
    data = world()
    value = term(output_of(data), batch_of(data))
    assert value.shape == ()
    torch.testing.assert_close(made(name)(output_of(data), batch_of(data)), value)
    again = pickle.loads(pickle.dumps(term))
    torch.testing.assert_close(again(output_of(data), batch_of(data)), value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ON_SCORES)
def test_needs_are_what_it_reads(name):
    data = world()
    batch = batch_of(data)
    term = made(name)
    if not {"teacher_scores", "teacher_order"} & set(term.needs):
        batch.teacher_scores = None
    if "ranks" not in term.needs:
        batch.ranks = None
    assert term(output_of(data), batch).isfinite()


@pytest.mark.parametrize("name", ON_SCORES)
def test_who_needs_only_the_order_of_the_teacher_does_not_see_more(name):
    data = world()
    changed = {**data, "teacher": (data["teacher"] / 4).exp()}  # the same order
    values, again = call(name, data), call(name, changed)
    if "teacher_scores" in made(name).needs:
        assert not torch.allclose(again, values)
    else:
        torch.testing.assert_close(again, values, rtol=0, atol=0)


def test_needs_follow_the_options():
    assert made("ckl").needs == ("teacher_scores", "ranks")
    assert made("ckl", rank_source="student").needs == ("teacher_scores",)
    assert made("ckl", alpha=0.0).needs == ("teacher_scores",)
    later = {"alpha": {"kind": "step", "values": [0.0, 1.0, 0.0], "at": [5, 9]}}
    assert made("ckl", schedules=later).needs == ("teacher_scores", "ranks")
    assert made("kl").needs == made("bce").needs == made("list_net").needs == ("teacher_scores",)
    assert made("bce", target="labels").needs == made("list_net", target="labels").needs == ()
    assert made("ranknet").needs == ("teacher_order",)
    assert made("info_nce", in_batch=True).needs == ("embeddings",)
    assert made("flops").needs == ("term_weights",)


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
    "positive_exponent": ["alpha"],
    "negative_log": ["p"],
    "against": ["worst"],
    "evidence": ["teacher"],
    "mass": [0.0, 1.0],
    "top": [0, -1],
}


@pytest.mark.parametrize("name", NAMES)
def test_options_out_of_range_are_refused_by_name(name):
    """In a configuration, and in a call of the function."""
    data = world()
    for key in options_of(name):
        if key in ("schedules", "in_batch", "gather", "mask_positives", "detach_weights"):
            continue
        for value in BAD[key]:
            with pytest.raises(ValueError, match=rf"^{key} must be"):
                made(name, **{key: value})
            if name in ON_SCORES and key != "weight":
                with pytest.raises(ValueError, match=rf"^{key} must be"):
                    call(name, data, **{key: value})


def test_gather_alone_is_refused():
    with pytest.raises(ValueError, match=r"^gather needs in_batch"):
        made("info_nce", gather=True)


@pytest.mark.parametrize(("gamma", "alpha"), [(1.0, 1.0), (0.5, 1.0), (0.0, 0.1)])
def test_exponents_that_could_vanish_are_refused(gamma, alpha):
    with pytest.raises(ValueError, match=r"^gamma must be > alpha"):
        made("ckl", gamma=gamma, alpha=alpha)
    with pytest.raises(ValueError, match=r"^gamma must be > alpha"):
        call("ckl", world(), gamma=gamma, alpha=alpha)


def test_js_beta_below_one():
    with pytest.raises(ValueError, match=r"^beta must be between"):
        made("js", beta=1.0)


@pytest.mark.parametrize("name", ON_SCORES)
def test_ranks_below_one_are_refused(name):
    data = world()
    data["ranks"] = data["ranks"].double()
    for rank in (0.0, -3.0, 0.5):
        data["ranks"][1, 2] = rank
        if name == "ckl":
            message = rf"^ranks must be finite numbers >= 1, got {rank} for query 1, candidate 2"
            with pytest.raises(ValueError, match=message):
                call(name, data)
        else:
            assert call(name, data).isfinite().all()


@pytest.mark.parametrize("name", TERMS)
def test_unknown_options_are_refused(name):
    with pytest.raises(ValueError, match=r"^no_such is no option of"):
        made(name, no_such=1.0)
    with pytest.raises(TypeError, match="no_such"):
        call(name, world(), no_such=1.0)
    with pytest.raises(TypeError, match="missing"):
        function(name)(world()["student"])


def test_what_is_no_tensor_is_refused():
    data = world()
    with pytest.raises(ValueError, match=r"^teacher must be a tensor, got list"):
        call("kl", {**data, "teacher": data["teacher"].tolist()})
    with pytest.raises(ValueError, match=r"^mask must be a tensor, got list"):
        call("kl", {**data, "mask": data["mask"].tolist()})


def test_a_loss_is_tried_once_when_it_becomes_a_term():
    @on_scores
    def scalar(student: Tensor, mask: Tensor) -> Tensor:
        return student.mean()

    @on_scores
    def infinite(student: Tensor, labels: Unread, mask: Tensor, *, size: Positive = 1.0) -> Tensor:
        return student.sum(-1) / 0 * size

    with pytest.raises(TypeError, match=r"^scalar must return a tensor \(B,\), one number for each query"):
        Term(scalar)
    with pytest.raises(ValueError, match=r"^infinite must return finite numbers; .* it returned \[inf, inf\]"):
        Term(infinite)
    with pytest.raises(TypeError, match=r"must be decorated with limbeck\.losses\.on_scores"):
        Term(lambda student, mask: student.sum(-1))


def test_an_option_without_a_default_must_be_given():
    @on_scores
    def scaled(student: Tensor, mask: Tensor, *, scale: Positive) -> Tensor:
        return scale * student.sum(-1)

    with pytest.raises(ValueError, match=r"^scale must be given: scaled has no default for it"):
        Term(scaled)
    assert Term(scaled, scale=2.0).options == {"scale": 2.0}
    with pytest.raises(TypeError, match="scale"):
        scaled(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))


def test_a_signature_that_is_none_of_a_loss_is_refused():
    def scores(student: Tensor, grades: Tensor, mask: Tensor) -> Tensor: ...
    def no_mask(student: Tensor) -> Tensor: ...
    def swallows(student: Tensor, mask: Tensor, **options: float) -> Tensor: ...

    for loss in (scores, no_mask, swallows):
        with pytest.raises(TypeError, match="positional parameters must be of student, teacher, labels, mask, ranks"):
            on_scores(loss)
