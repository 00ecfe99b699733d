"""Assign runs to the rows of a table, and order the rows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from limbeck.config import ConfigError
from limbeck.reporting.results.naming import Value, values
from limbeck.reporting.results.spec import Spec
from limbeck.reporting.results.sweep import Finished


@dataclass(frozen=True)
class Line:
    """A row without its cells."""

    values: tuple[Value, ...]
    """One value per row key."""
    runs: tuple[Finished, ...]
    """Empty for an expected row without runs."""


def lines(spec: Spec, runs: Sequence[Finished]) -> list[Line]:
    """Return the rows in order, including expected rows without runs.

    Raises
    ------
    ConfigError
        No run has a row key.
    """
    of_key = [values([run.config for run in runs], key, spec.rows) for key in spec.rows]
    groups: dict[tuple[Value, ...], list[Finished]] = {}
    for run, *found in zip(runs, *of_key, strict=True):
        groups.setdefault(tuple(found), []).append(run)
    for wanted in _wanted(spec, list(groups)):
        if not any(_matches(found, wanted) for found in groups):
            groups[tuple(map(Value, wanted))] = []
    lines = [Line(found, tuple(members)) for found, members in groups.items()]
    places = [_Places(spec, number, [line.values[number] for line in lines]) for number in range(len(spec.rows))]
    return sorted(
        lines, key=lambda line: tuple(place.of(value) for place, value in zip(places, line.values, strict=True))
    )


def _wanted(spec: Spec, found: Sequence[tuple[Value, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the expected rows; a row key that ``expect`` does not mention takes each value found in the runs."""
    for each in spec.expect:
        seen = [list(dict.fromkeys(row[number].text for row in found)) for number in range(len(spec.rows))]
        yield from itertools.product(*(each.get(key, seen[number]) for number, key in enumerate(spec.rows)))


def _matches(found: Sequence[Value], wanted: Sequence[str]) -> bool:
    return all(value.means(word) for value, word in zip(found, wanted, strict=True))


class _Places:
    """Order of the values of one row key: as listed in the YAML, then numbers by size, then in order of appearance."""

    def __init__(self, spec: Spec, number: int, found: Sequence[Value]) -> None:
        key = spec.rows[number]
        expected = [word for each in spec.expect for word in each.get(key, ())]
        self._listed = list(spec.order.get(key, ())) or list(dict.fromkeys(expected))
        self._found = list(dict.fromkeys(found))

    def of(self, value: Value) -> tuple[int, float, int]:
        """Return the sort key of a value."""
        place = self._found.index(value)
        listed = next((number for number, word in enumerate(self._listed) if value.means(word)), None)
        if listed is not None:
            return 0, listed, place
        try:
            return 1, float(value.text), place
        except ValueError:
            return 2, 0.0, place


def baseline_of(spec: Spec, lines: Sequence[Line]) -> dict[tuple[str, ...], list[Line]]:
    """Return groups of rows to compare, by their values of the keys that the baseline does not name.

    The baseline comes first in each group. Groups without one are left out.

    Raises
    ------
    ConfigError
        No row is the baseline, or several rows of a group are.
    """
    chosen = [number for number, key in enumerate(spec.rows) if key in spec.baseline]
    rest = [number for number, key in enumerate(spec.rows) if key not in spec.baseline]
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line.values[number].text for number in rest), []).append(line)
    found: dict[tuple[str, ...], list[Line]] = {}
    for name, members in groups.items():
        first = [
            line for line in members if all(line.values[n].means(spec.baseline[spec.rows[n]]) for n in chosen)
        ]  # fmt: skip
        if len(first) > 1:
            matching = ", ".join(" ".join(line.values[number].text for number in chosen) for line in first)
            raise ConfigError(f"table.baseline: {_words(spec.baseline)} is several rows ({matching}); name one")
        if first:
            found[name] = [*first, *(line for line in members if line is not first[0])]
    if not found:
        known = dict.fromkeys(" ".join(line.values[number].text for number in chosen) for line in lines)
        raise ConfigError(f"table.baseline: no row has {_words(spec.baseline)}; there are {', '.join(known)}")
    return found


def _words(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in wanted.items())
