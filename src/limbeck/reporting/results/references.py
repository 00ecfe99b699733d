"""First stage, teacher and start in a table, once each, from the runs that evaluated them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck import labels
from limbeck.config import part_name
from limbeck.reporting.results.cells import Cell, Column, Reference, Table
from limbeck.reporting.results.naming import named
from limbeck.reporting.results.sweep import Finished

_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Found:
    """One system of one run."""

    run: Finished
    row: Mapping[str, Mapping[str, Any]]
    """Set → row of the result."""
    node: Mapping[str, Any]
    """Configuration that its values depend on."""


def add_references(table: Table, runs: Sequence[Finished]) -> None:
    """Add the systems of ``also`` to a table."""
    for key in table.spec.also:
        groups: dict[tuple[str, str], list[_Found]] = {}
        for run in runs:
            by_label: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
            for name, evaluated in run.sets.items():
                if key in evaluated.rows:
                    row = evaluated.rows[key]
                    by_label.setdefault((_label(key, run, row), str(row["candidates"])), {})[name] = row
            for label, rows in by_label.items():
                groups.setdefault(label, []).append(_Found(run, rows, _node(key, run)))
        known = [label for label, _ in groups]
        for (label, candidates), found in groups.items():
            shown = f"{label}, {candidates}" if known.count(label) > 1 else label
            table.references += _of_group(table.columns, shown, found)


def _label(key: str, run: Finished, row: Mapping[str, Any]) -> str:
    if key == "first_stage":
        return str(row["system"])
    if key == "teacher":
        return "Teacher"
    return f"{labels.value('student', part_name(run.config['student']))} before training"


def _node(key: str, run: Finished) -> Mapping[str, Any]:
    parts = {"first_stage": ("candidates",), "teacher": ("teacher",), "start": ("student", "backbone")}[key]
    return {part: run.config.get(part) for part in parts}


def _of_group(columns: Sequence[Column], label: str, found: Sequence[_Found]) -> list[Reference]:
    """Return one system, or several if both its configuration and its values differ among runs."""
    values = named([(label, each.node) for each in found])
    by_text: dict[str, list[_Found]] = {}
    for value, each in zip(values, found, strict=True):
        by_text.setdefault(value.text, []).append(each)
    cells = {text: [_cell(members, column) for column in columns] for text, members in by_text.items()}
    together = [_cell(found, column) for column in columns]
    if all(_agree(one, other) for each in cells.values() for one, other in zip(each, together, strict=True)):
        cells = {label: together}
    return [Reference(text, each) for text, each in cells.items() if any(cell is not None for cell in each)]


def _agree(one: Cell | None, other: Cell | None) -> bool:
    return one is None or other is None or math.isclose(one.mean, other.mean, abs_tol=_ROUNDING)


def _cell(found: Sequence[_Found], column: Column) -> Cell | None:
    """Return one value if the seed does not matter, else one per seed."""
    values: dict[int, float] = {}
    for each in found:
        value = each.row.get(column.set, {}).get(column.metric)
        if value is not None and math.isfinite(value):
            values.setdefault(each.run.seed, value)
    if not values:
        return None
    first = next(iter(values.values()))
    if all(math.isclose(value, first, abs_tol=_ROUNDING) for value in values.values()):
        return Cell({next(iter(values)): first})
    return Cell(values)
