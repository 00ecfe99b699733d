"""What every registered loss keeps as a module: its contract, its options, what it says that it needs."""

import inspect
import math

import pytest
import torch
from loss_worlds import NAMES, ON_SCORES, batch_of, call, function, module, output_of

from limbeck.losses.base import Loss


@pytest.mark.parametrize("name", NAMES)
def test_module_passes_its_options_on(name, world):
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
def test_module_contract(name, world):
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
def test_needs_are_what_it_reads(name, world):
    data = world()
    batch = batch_of(data)
    made = module(name)()
    if not {"teacher_scores", "teacher_order"} & set(made.needs):
        batch.teacher_scores = None
    if "ranks" not in made.needs:
        batch.ranks = None
    assert made(output_of(data), batch).isfinite()


@pytest.mark.parametrize("name", ON_SCORES)
def test_who_needs_only_the_order_of_the_teacher_does_not_see_more(name, world):
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
