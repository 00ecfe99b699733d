import re

import optuna
import pytest

from limbeck.config import ConfigError
from limbeck.tuning.space import grid, parse

GOOD = {
    "optim.lr": {"kind": "log", "low": 1e-5, "high": 1e-3},
    "loss.ckl.gamma": {"kind": "float", "low": 0.5, "high": 9},
    "sampler.negatives": {"kind": "int", "low": 2, "high": 8, "step": 3},
    "loss": {"kind": "choice", "values": ["[kl]", ["ckl", "flops"], None, True, {"a": 1}]},
}


def test_choices_come_first_and_are_what_could_be_typed():
    space = parse(GOOD)
    assert [each.key for each in space] == ["loss", "optim.lr", "loss.ckl.gamma", "sampler.negatives"]
    assert space[0].values == ("[kl]", "[ckl,flops]", "null", "true", "{a:1}")
    assert space[0].override("[kl]") == "loss=[kl]"
    assert space[1].override(0.000123456789) == "optim.lr=0.000123457"
    assert space[3].override(5) == "sampler.negatives=5"


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (None, "tune.space must be given"),
        ({}, "tune.space must be given"),
        ({"a.b": 3}, "tune.space.a.b must be a mapping with a kind"),
        (
            {"a.b": {"kind": "uniform", "low": 0, "high": 1}},
            "tune.space.a.b.kind must be one of float, log, int, choice",
        ),
        ({"a.b": {"kind": ["log"], "low": 1, "high": 2}}, "tune.space.a.b.kind must be one of float, log, int, choice"),
        ({"a.b": {"kind": "int", "low": 1, "high": 10**30}}, "tune.space.a.b.high must be between -2"),
        ({"a.b": {"kind": "float", "low": 0, "high": 10**400}}, "tune.space.a.b.high must be between -2"),
        ({"a.b": {"kind": "float", "low": -1e308, "high": 1e308}}, "tune.space.a.b: high - low must be finite"),
        ({"a.b": {"kind": "float", "low": 1, "high": 1}}, "tune.space.a.b: low must be < high, got 1 and 1"),
        ({"a.b": {"kind": "log", "low": 0, "high": 1}}, "tune.space.a.b.low must be > 0 for kind log"),
        ({"a.b": {"kind": "int", "low": 0.5, "high": 1}}, "tune.space.a.b.low must be a whole number, got 0.5"),
        ({"a.b": {"kind": "float", "low": True, "high": 1}}, "tune.space.a.b.low must be a number, got True"),
        ({"a.b": {"kind": "float", "low": 0, "high": float("inf")}}, "tune.space.a.b.high must be a number, got inf"),
        ({"a.b": {"kind": "float", "low": 0}}, "tune.space.a.b.high must be given for kind float"),
        ({"a.b": {"kind": "log", "low": 1, "high": 2, "step": 1}}, "tune.space.a.b.step is no option of kind log"),
        (
            {"a.b": {"kind": "float", "low": 0, "high": 1, "step": 2}},
            "tune.space.a.b.step must be > 0 and <= high - low",
        ),
        ({"a.b": {"kind": "choice", "values": "[kl]"}}, "tune.space.a.b.values must be a list of two values or more"),
        ({"a.b": {"kind": "choice", "values": [1, "1"]}}, "tune.space.a.b.values must differ"),
    ],
)
def test_what_is_no_space_is_named(node, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(node)


def test_a_grid_has_every_combination():
    space = parse(
        {
            "x": {"kind": "float", "low": 0.1, "high": 0.5, "step": 0.2},
            "n": {"kind": "int", "low": 1, "high": 6, "step": 2},
            "c": {"kind": "choice", "values": ["a", "b"]},
        }
    )
    points = grid(space)
    assert len(points) == 18
    assert points[:2] == [{"c": "a", "x": 0.1, "n": 1}, {"c": "a", "x": 0.1, "n": 3}]
    assert {point["x"] for point in points} == {0.1, 0.3, 0.5}
    assert {point["n"] for point in points} == {1, 3, 5}


def test_optuna_takes_the_points_of_a_grid():
    space = parse({"x": {"kind": "float", "low": 0.1, "high": 0.5, "step": 0.2}})
    study = optuna.create_study()
    for point in grid(space):
        study.enqueue_trial(point)
    drawn = [space[0].draw(study.ask()) for _ in range(3)]
    assert drawn == [point["x"] for point in grid(space)]


def test_a_grid_refuses_what_has_no_end():
    with pytest.raises(ConfigError, match=r"tune\.space\.optim\.lr: tune\.sampler=grid takes choices"):
        grid(parse(GOOD))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"a": {"kind": "float", "low": 0, "high": 1, "step": 1e-20}}, "tune.space.a: tune.sampler=grid would have 1"),
        (
            {"a": {"kind": "int", "low": 0, "high": 10**9}},
            "tune.space.a: tune.sampler=grid would have 1000000001 values",
        ),
        (
            {name: {"kind": "int", "low": 1, "high": 999} for name in "ab"},
            "tune.space has 998001 combinations; tune.sampler=grid takes at most 100000",
        ),
    ],
)
def test_a_grid_that_no_study_tries(space, message):
    with pytest.raises(ConfigError, match=message):
        grid(parse(space))
