"""Options that follow a schedule: values, checks, and that they depend on the step alone."""

import math
import re

import pytest
import torch
from loss_worlds import NAMES, batch_of, call, made, output_of, world

from limbeck.losses.base import Loss
from limbeck.losses.flops import FLOPS
from limbeck.losses.schedules import parse

LINEAR = {"kind": "linear", "start": 2.0, "end": 5.0, "steps": 10}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"kind": "constant", "value": 3}, {0: 3.0, 10**6: 3.0}),
        (LINEAR, {0: 2.0, 1: 2.3, 5: 3.5, 10: 5.0, 11: 5.0, 10**6: 5.0}),
        (
            {"kind": "cosine", "start": 1.0, "end": 0.0, "steps": 4},
            {0: 1.0, 1: (1 + math.cos(math.pi / 4)) / 2, 2: 0.5, 4: 0.0, 5: 0.0},
        ),
        ({"kind": "step", "values": [1, 0.5, 0.1], "at": [10, 20]}, {0: 1.0, 9: 1.0, 10: 0.5, 19: 0.5, 20: 0.1}),
    ],
)
def test_values(node, expected):
    schedule = parse("gamma", node)
    for step, value in expected.items():
        assert schedule(step) == pytest.approx(value)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (3.0, "must be a mapping"),
        ({"kind": "sine"}, "must be a mapping with kind: one of constant, linear, cosine, step"),
        ({"start": 1.0}, "must be a mapping with kind"),
        ({**LINEAR, "stesp": 3}, "stesp is unknown"),
        ({"kind": "linear", "start": 1.0, "end": 2.0}, "steps is missing"),
        ({**LINEAR, "start": "a"}, "start must be a finite number"),
        ({**LINEAR, "start": True}, "start must be a finite number"),
        ({**LINEAR, "end": math.nan}, "end must be a finite number"),
        ({**LINEAR, "steps": 0}, "steps must be a whole number"),
        ({**LINEAR, "steps": 2.5}, "steps must be a whole number"),
        ({"kind": "step", "values": [1.0], "at": [3]}, "values must be one more"),
        ({"kind": "step", "values": [1.0, 2.0, 3.0], "at": [3, 3]}, "at must increase"),
        ({"kind": "step", "values": 1.0, "at": []}, "values must be a list"),
    ],
)
def test_malformed(node, message):
    with pytest.raises(ValueError, match=rf"^schedules\.gamma[ .].*{re.escape(message.split(' ')[-1])}") as caught:
        made("ckl", schedules={"gamma": node})
    assert message in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_takes_schedules_of_its_weight(name):
    term = made(name, schedules={"weight": {"kind": "linear", "start": 0.0, "end": 1.0, "steps": 4}})
    assert term.weight == 0.0
    term.at(3)
    assert term.weight == 0.75
    assert not term.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_and_non_numeric_options_are_refused(name):
    for key, word in (("no_such_option", "is no option"), ("schedules", "is not numeric")):
        with pytest.raises(ValueError, match=rf"^schedules\.{key} {word}"):
            made(name, schedules={key: {"kind": "constant", "value": 1.0}})


@pytest.mark.parametrize("key", ["rank_anchor", "detach_weights", "reduction"])
def test_words_and_switches_are_not_numeric(key):
    with pytest.raises(ValueError, match=rf"^schedules\.{key} is not numeric"):
        made("ckl", schedules={key: {"kind": "constant", "value": 1.0}})


def test_scheduled_values_are_used():
    data = world()
    term = made(
        "ckl", schedules={"gamma": LINEAR, "student_temperature": {"kind": "step", "values": [1, 2], "at": [5]}}
    )
    for step, gamma, temperature in ((0, 2.0, 1.0), (5, 3.5, 2.0), (10, 5.0, 2.0), (1, 2.3, 1.0)):
        term.at(step)
        expected = call("ckl", data, gamma=gamma, student_temperature=temperature).mean()
        torch.testing.assert_close(term(output_of(data), batch_of(data)), expected)


def test_starts_at_step_0_and_depends_on_no_history():
    term, fresh = made("ckl", schedules={"gamma": LINEAR}), made("ckl", schedules={"gamma": LINEAR})
    assert term.gamma == 2.0
    for step in range(8):
        term.at(step)
    fresh.at(7)
    assert term.gamma == fresh.gamma == pytest.approx(4.1)


@pytest.mark.parametrize(
    ("options", "guilty", "step"),
    [
        ({"schedules": {"gamma": {**LINEAR, "start": 0.5}}}, "gamma", 0),
        ({"schedules": {"gamma": {**LINEAR, "end": 1.0}}}, "gamma", 10),
        ({"schedules": {"gamma": {"kind": "step", "values": [5, 1, 5], "at": [3, 4]}}}, "gamma", 3),
        ({"schedules": {"student_temperature": {**LINEAR, "end": 0.0}}}, "student_temperature", 10),
        ({"schedules": {"alpha": {"kind": "constant", "value": 5.0}}}, "alpha", 0),
        # Both ends are fine, and so is each alone; the two meet in between.
        (
            {
                "schedules": {
                    "gamma": {"kind": "linear", "start": 6.0, "end": 0.2, "steps": 100},
                    "alpha": {"kind": "cosine", "start": 5.5, "end": 0.0, "steps": 100},
                }
            },
            "gamma",
            12,
        ),
    ],
)
def test_out_of_range_anywhere_is_refused_at_construction(options, guilty, step):
    with pytest.raises(ValueError, match=rf"^schedules\.{guilty} is out of range at step (\d+): ") as caught:
        made("ckl", **options)
    assert int(re.findall(r"at step (\d+)", str(caught.value))[0]) == step


def test_counts_stay_whole():
    whole = {"kind": "step", "values": [10, 20], "at": [5]}
    term = FLOPS(schedules={"warmup_steps": whole})
    term.at(7)
    assert term.warmup_steps == 20
    assert isinstance(term.warmup_steps, int)
    with pytest.raises(ValueError, match=r"^schedules\.warmup_steps must give whole numbers, at step 1 "):
        FLOPS(schedules={"warmup_steps": {"kind": "linear", "start": 1, "end": 2, "steps": 10}})


def test_stages_of_the_curriculum():
    data = world()
    term = made("cl_drd", schedules={"top": {"kind": "step", "values": [1, 2, 4], "at": [10, 20]}})
    for step, top in ((0, 1), (9, 1), (10, 2), (19, 2), (20, 4), (10**6, 4), (3, 1)):
        term.at(step)
        assert isinstance(term.top, int)
        torch.testing.assert_close(term(output_of(data), batch_of(data)), call("cl_drd", data, top=top).mean())


def test_a_loss_of_a_user_is_settled_too():
    class Own(Loss):
        def __init__(self, *, weight: float = 1.0, sharpness: float = 1.0, schedules: dict | None = None) -> None:
            super().__init__(weight=weight, schedules=schedules)
            self.sharpness = sharpness

        def check(self) -> None:
            if self.sharpness <= 0:
                raise ValueError(f"sharpness must be > 0, got {self.sharpness}")

    class Finer(Own):
        def __init__(self, *, sharpness: float = 2.0, schedules: dict | None = None) -> None:
            super().__init__(sharpness=1.0, schedules=schedules)
            self.sharpness = sharpness

    with pytest.raises(ValueError, match=r"^sharpness must be"):
        Own(sharpness=0.0)
    with pytest.raises(ValueError, match=r"^schedules\.sharpness is out of range at step 3"):
        Finer(schedules={"sharpness": {"kind": "linear", "start": 3, "end": 0, "steps": 3}})
    assert Finer(schedules={"sharpness": LINEAR}).sharpness == 2.0


def test_no_mapping():
    with pytest.raises(ValueError, match=r"^schedules must map options to schedules"):
        made("ckl", schedules=[3])


def test_plain_options_keep_their_values():
    term = made("kl", student_temperature=0.5, teacher_temperature=2.0)
    term.at(100)
    assert (term.student_temperature, term.teacher_temperature, term.weight) == (0.5, 2.0, 1.0)
