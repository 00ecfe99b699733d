"""A table as plain data: rows, columns, cells, and notes."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from limbeck.config import ConfigError, differences
from limbeck.reporting.results.commands import commands, untold
from limbeck.reporting.results.published import Published
from limbeck.reporting.results.rows import Line, lines
from limbeck.reporting.results.spec import Spec
from limbeck.reporting.results.sweep import Finished

STUDENT = "student"


@dataclass(frozen=True)
class Column:
    """One metric on one set."""

    set: str
    metric: str


@dataclass
class Cell:
    """The value of one system, by one metric on one set."""

    values: Mapping[int, float]
    """Seed → mean over queries."""
    best: bool = False
    """Whether no other row has a higher mean; means are compared as shown."""
    mark: str = ""
    """``▲`` or ``▼`` for a significant difference from the baseline."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds, n - 1 in the denominator; None for one seed."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.values)


@dataclass
class TableRow:
    """The students of the runs that agree in the row keys."""

    line: Line
    labels: tuple[str, ...]
    """One label per row key."""
    cells: list[Cell | None]
    """One cell per column; None where no run has a value."""

    @property
    def commands(self) -> list[str]:
        """Commands that reproduce its runs."""
        return commands(self.line.runs)

    @property
    def untold(self) -> int:
        """Number of its runs that do not record their command."""
        return untold(self.line.runs)


@dataclass
class Reference:
    """A system that the runs evaluate besides their student."""

    label: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Regret:
    """How much worse a system is than the best one."""

    system: str
    settings: Mapping[str, float]
    """Setting → (best - value) / best."""
    low: float
    high: float
    """Upper end of the 95 % interval of the largest regret, by a bootstrap over queries."""

    @property
    def largest(self) -> float:
        """Largest regret over the settings."""
        return max(self.settings.values())

    @property
    def where(self) -> str:
        """The setting with the largest regret."""
        return max(self.settings, key=lambda setting: self.settings[setting])

    @property
    def mean(self) -> float:
        """Mean regret over the settings."""
        return sum(self.settings.values()) / len(self.settings)


@dataclass
class Table:
    """A whole table."""

    name: str
    spec: Spec
    columns: list[Column]
    rows: list[TableRow]
    references: list[Reference]
    seeds: int
    """Number of seeds that a cell should have."""
    remarks: list[str] = field(default_factory=list)
    """Sentences for the caption, for example the meaning of the marks."""
    notes: list[str] = field(default_factory=list)
    """Sentences on the source of the table, and on what was left out."""
    regrets: list[Regret] = field(default_factory=list)
    """Regrets of the values of a row key, smallest first."""

    def published(self) -> Iterator[tuple[Published, list[float | None]]]:
        """Yield published systems with their values, one per column."""
        for each in self.spec.published:
            yield each, [each.values.get(column.set, {}).get(column.metric) for column in self.columns]

    def cells(self) -> Iterator[Cell | None]:
        """Yield the cells of all rows of runs."""
        for row in self.rows:
            yield from row.cells


def make(name: str, spec: Spec, runs: Sequence[Finished], *, partial: bool = False) -> Table:
    """Arrange finished runs in rows and columns. ``limbeck.reporting.results.marking`` adds the marks.

    Parameters
    ----------
    name
        Name of the table.
    spec
        Its checked YAML.
    runs
        At least one run.
    partial
        Show a set that no run has as missing, instead of raising an error.

    Raises
    ------
    ConfigError
        No run has a set, a metric or a row key; or runs that would be averaged differ in more than the seed.
    """
    columns = _columns(spec, runs, partial)
    _check_published(spec, columns)
    rows = []
    for line in lines(spec, runs):
        labels = tuple(
            value.label(spec.labels.get(key, {}), key) for key, value in zip(spec.rows, line.values, strict=True)
        )
        by_set = {group: _of_set(group, line.runs, labels) for group in dict.fromkeys(each.set for each in columns)}
        rows.append(TableRow(line, labels, [_cell(by_set[each.set], each) for each in columns]))
    table = Table(name, spec, columns, rows, [], 0)
    table.seeds = spec.seeds or max((cell.seeds for cell in table.cells() if cell is not None), default=1)
    for number in range(len(columns)):
        _mark_best([row.cells[number] for row in rows], spec.digits)
    return table


def _columns(spec: Spec, runs: Sequence[Finished], partial: bool) -> list[Column]:
    known: dict[str, list[str]] = {}
    for run in runs:
        for group, evaluated in run.sets.items():
            metrics = known.setdefault(group, [])
            row = evaluated.rows.get(STUDENT, {})
            metrics += [each for each, value in row.items() if _is_metric(each, value) and each not in metrics]
    asked = spec.columns if spec.columns is not None else dict.fromkeys(known)
    columns = []
    for group, metrics in asked.items():
        if group not in known:
            if not partial:
                raise ConfigError(
                    f"table.columns has {group!r}, on which no run was evaluated; they have {', '.join(known)}. "
                    "partial=true shows it as missing"
                )
            every = [metric for each in known.values() for metric in each]
            columns += [Column(group, metric) for metric in metrics or dict.fromkeys(every)]
            continue
        for metric in known[group] if metrics is None else metrics:
            if metric not in known[group]:
                raise ConfigError(
                    f"table.columns.{group} has {metric!r}, which no run computed there; they have "
                    f"{', '.join(known[group])}"
                )
            columns.append(Column(group, metric))
    return columns


def _is_metric(name: str, value: object) -> bool:
    return isinstance(value, float) and name not in ("queries", "ranked")


def _check_published(spec: Spec, columns: Sequence[Column]) -> None:
    for number, each in enumerate(spec.published):
        for group, metrics in each.values.items():
            for metric in metrics:
                if Column(group, metric) not in columns:
                    shown = ", ".join(f"{column.set} {column.metric}" for column in columns)
                    raise ConfigError(
                        f"table.published[{number}].values.{group}.{metric} is no column of the table ({shown})"
                    )


def _of_set(group: str, runs: Sequence[Finished], labels: Sequence[str]) -> list[Finished]:
    """Return the runs of a row that have a set; raise if they differ in more than the seed."""
    found = [run for run in runs if group in run.sets]
    for run in found[1:]:
        if run.what != found[0].what:
            keys = differences(found[0].computed, run.computed)
            raise ConfigError(
                f"table.rows: on {group}, the row {' | '.join(labels)} would average runs that differ in more than "
                f"their seed, {found[0].path} and {run.path}: {', '.join(keys[:6])}{', …' if len(keys) > 6 else ''}. "
                "Add one of these to table.rows, or leave a folder out of table.runs"
            )
    return found


def _cell(runs: Sequence[Finished], column: Column) -> Cell | None:
    values: dict[int, float] = {}
    for run in runs:
        value = run.sets[column.set].rows.get(STUDENT, {}).get(column.metric)
        if value is not None and math.isfinite(value):
            values[run.seed] = value
    return Cell(values) if values else None


def _mark_best(cells: Sequence[Cell | None], digits: int) -> None:
    shown = {number: f"{cell.mean:.{digits}f}" for number, cell in enumerate(cells) if cell is not None}
    highest = max(map(float, shown.values()), default=None)
    for number, each in shown.items():
        cell = cells[number]
        assert cell is not None
        cell.best = len(shown) > 1 and float(each) == highest
