"""Warnings about options in steps (warm-ups, schedules, intervals) that a training is too short to reach."""

from collections.abc import Mapping
from typing import Any

from limbeck.losses.schedules import parse
from limbeck.training.optim import AdamW
from limbeck.training.trainer import Training


def too_long(
    steps: int,
    *,
    optim: AdamW,
    training: Training,
    losses: Mapping[str, Mapping[str, Any]],
    refresh_ranks: int | None,
    validates: bool,
) -> list[str]:
    """Return a warning, with a remedy, for each option whose steps exceed the training.

    They are not errors, so that trials of a few steps can run with the options of the whole training.

    Parameters
    ----------
    steps
        Updates of the training.
    optim
        The optimiser, for its warm-up.
    training
        The trainer's configuration, for its intervals.
    losses
        Name → configuration of the loss, for its schedules.
    refresh_ranks
        ``sampler.refresh_ranks``.
    validates
        Whether there is a dev split to validate on.
    """
    of = f"of {steps} updates"
    found = []
    if optim.warm(steps) >= steps > 1:
        found.append(
            f"optim.warmup={optim.warmup:g} takes up the whole training {of}: the learning rate ends at "
            f"{optim.factor(steps)(steps - 1):.0%} of optim.lr; give a share (optim.warmup=0.1) or fewer updates"
        )
    for name, node in losses.items():
        found += _of_loss(f"loss.{name}", node, steps)
    if refresh_ranks is not None and refresh_ranks >= steps:
        found.append(
            f"sampler.refresh_ranks={refresh_ranks} is not reached in a training {of}: the ranks are never "
            "refreshed; lower it or set it to null"
        )
    if validates and training.validate_every > steps:
        found.append(
            f"trainer.validate_every={training.validate_every} is not reached in a training {of}: the student is "
            "validated only at the end; lower it, or set it to 0 for no validation"
        )
    if training.log_every > steps:
        found.append(
            f"trainer.log_every={training.log_every} is not reached in a training {of}: no curve is recorded; lower it"
        )
    return found


def _of_loss(key: str, node: Mapping[str, Any], steps: int) -> list[str]:
    found = []
    warmup = node.get("warmup_steps") or 0
    if warmup > steps:
        found.append(
            f"{key}.warmup_steps={warmup} is longer than the training of {steps} updates: the term ends at "
            f"{(steps / warmup) ** 2:.2%} of its size; lower it"
        )
    for option, given in (node.get("schedules") or {}).items():
        schedule = parse(option, given)
        if schedule.kind == "step" and schedule.last >= steps:
            found.append(
                f"{key}.schedules.{option}.at={list(schedule.at)} goes beyond the training of {steps} updates: the "
                f"value ends at {schedule(steps - 1):g} instead of {schedule.values[-1]:g}; lower the steps"
            )
        elif schedule.last > steps:
            found.append(
                f"{key}.schedules.{option}.steps={schedule.last} is longer than the training of {steps} updates: the "
                f"value ends at {schedule(steps - 1):g} instead of {schedule.values[-1]:g}; lower it"
            )
    return found
