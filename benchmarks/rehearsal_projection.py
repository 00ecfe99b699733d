"""What the steps of a rehearsal would take at the size of MS MARCO."""

import re
from collections.abc import Mapping
from typing import Any

from rehearsal_steps import Sizes, Step


def intervals(step: Step, log: str) -> dict[str, float]:
    """Return rule → seconds of a step's log; those of start-up are among the first."""
    taken: dict[str, float] = {}

    def add(rule: str, seconds: float) -> None:
        if seconds > 0:
            taken[rule] = taken.get(rule, 0.0) + seconds

    marked = last = 0.0
    for line in log.splitlines():
        if line.startswith("$ "):  # another command, whose time begins anew
            add(step.rule, last - marked)
            marked = last = 0.0
            continue
        seconds, _, text = line.strip().partition(" ")
        last = float(seconds)
        rule = next((rule for pattern, rule in step.parts if re.search(pattern, text)), None)
        if rule is not None:
            add(rule, last - marked)
            marked = last
    add(step.rule, last - marked)
    return taken


def worked(record: dict[str, Any], step: Step, log: str) -> dict[str, float]:
    """Return rule → processor seconds of a step, shared out among the intervals of the log by their length."""
    taken = intervals(step, log) or {step.rule: 1.0}
    return {rule: record["cpu"] * seconds / sum(taken.values()) for rule, seconds in taken.items()}


def in_proportion(work: Mapping[str, float], sizes: Sizes, start: float) -> dict[str, float]:
    """Return rule → processor seconds at full size: all but start-up grows in proportion to what the rule names."""
    found = {rule: seconds * sizes.factor(rule) for rule, seconds in work.items()}
    rule = next(iter(work))
    start = min(start, work[rule])
    return found | {rule: start + (work[rule] - start) * sizes.factor(rule)}


def along_a_line(
    work: Mapping[str, float], sizes: Sizes, beside: Mapping[str, float], smaller: Sizes
) -> dict[str, float]:
    """Return the same along the line through a smaller rehearsal: start-up, compiling, loading are not multiplied."""
    found = {}
    for rule, seconds in work.items():
        here, there = 1 / sizes.factor(rule), 1 / smaller.factor(rule)  # shares of full size
        slope = max(0.0, (seconds - beside.get(rule, 0.0)) / (here - there)) if there < here else 0.0
        found[rule] = seconds + slope * (1 - here)
    return found


def projected(record: dict[str, Any], step: Step, sizes: Sizes, full: Mapping[str, float]) -> dict[str, Any]:
    """Return processor hours and GB on disk at full size, and what most of the time grows with."""
    disk = max(0.0, record["disk"]) * sizes.factor(step.disk_rule or step.rule)
    mostly = max(full, key=lambda rule: full[rule])
    return {"cpu hours": sum(full.values()) / 3600, "disk GB": disk / 1000, "mostly": mostly}
