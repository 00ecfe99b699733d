"""Options in steps that a training does not reach."""

import re

import pytest

from limbeck.training.lengths import too_long
from limbeck.training.optim import AdamW
from limbeck.training.trainer import Training

LINEAR = {"kind": "linear", "start": 2.0, "end": 5.0}
STEP = {"kind": "step", "values": [0.0, 1.0]}


def told(steps=100, *, warmup=0.1, validates=True, refresh=None, losses=None, **training):
    return too_long(
        steps,
        optim=AdamW(warmup=warmup),
        training=Training(**training),
        losses=losses or {},
        refresh_ranks=refresh,
        validates=validates,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"warmup": 1000},
            "optim.warmup=1000 takes up the whole training of 100 updates: the learning rate ends at 10% ",
        ),
        (
            {"warmup": 100},
            "optim.warmup=100 takes up the whole training of 100 updates: the learning rate ends at 99% ",
        ),
        ({"warmup": 0.999}, "optim.warmup=0.999 takes up the whole training"),
        ({"refresh": 100}, "sampler.refresh_ranks=100 is not reached in a training of 100 updates"),
        ({"validate_every": 101}, "trainer.validate_every=101 is not reached in a training of 100 updates"),
        ({"log_every": 101}, "trainer.log_every=101 is not reached in a training of 100 updates"),
        ({"losses": {"flops": {"warmup_steps": 1000}}}, "loss.flops.warmup_steps=1000 is longer .* ends at 1.00% of"),
        (
            {"losses": {"ckl": {"schedules": {"gamma": {**LINEAR, "steps": 298}}}}},
            "loss.ckl.schedules.gamma.steps=298 is longer than the training of 100 updates: the value ends at 2.99",
        ),
        (
            {"losses": {"kl": {"schedules": {"weight": {**STEP, "at": [100]}}}}},
            r"loss.kl.schedules.weight.at=\[100\] goes beyond .* ends at 0 instead of 1",
        ),
    ],
)
def test_each_is_named_with_key_value_and_remedy(options, message):
    (found,) = told(**options)
    assert re.match(message, found), found


def test_what_is_reached_is_not_mentioned():
    losses = {
        "flops": {"warmup_steps": 100},
        "ckl": {"schedules": {"gamma": {**LINEAR, "steps": 100}, "weight": {**STEP, "at": [99]}}},
        "kl": {"schedules": None},
    }
    assert not told(warmup=99, refresh=99, losses=losses, validate_every=100, log_every=100)
    assert not told(1, log_every=1, validate_every=1)
    assert not told(validates=False, validate_every=1000)


@pytest.mark.parametrize("warmup", [-1, 1.5, float("nan"), float("inf")])
def test_warmups_without_a_meaning_are_refused(warmup):
    with pytest.raises(ValueError, match=r"^warmup must be "):
        AdamW(warmup=warmup)


def test_a_training_warns(limbeck):
    status, _, err = limbeck("train", "optim.warmup=50", "trainer.steps=4", "eval.start=false", "eval.teacher=false")
    assert status == 0, err
    assert "optim.warmup=50 takes up the whole training of 4 updates" in err
