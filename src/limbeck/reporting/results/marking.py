"""Significance marks: compare rows of a table with the baseline row of their group, or with the first stage."""

from dataclasses import dataclass, field

from limbeck.config import ConfigError
from limbeck.evaluation.comparison import Comparing, compare
from limbeck.evaluation.per_query import read_per_query
from limbeck.evaluation.values import Values
from limbeck.reporting.results.cells import STUDENT, Cell, Column, Table, TableRow
from limbeck.reporting.results.finished import BESIDE
from limbeck.reporting.results.rows import baseline_of
from limbeck.reporting.results.sweep import Finished

_BASELINE = "the baseline"
_FEWEST = 2  # with a single resample NumPy warns that there is no deviation


@dataclass
class _Evaluated:
    """Per-query values of the compared systems, and the cells that get the marks."""

    values: dict[str, dict[str, dict[str, list[Values]]]] = field(default_factory=dict)
    """Group of rows on a set → metric → system → values, one mapping per seed."""
    cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict)
    """(group, metric, system) → cell."""

    def add(self, group: str, row: TableRow, column: Column, system: str, key: str = STUDENT) -> None:
        """Add the values of a row's student, or of another system of its runs."""
        values = values_of(row, column, key)
        self.values.setdefault(group, {}).setdefault(column.metric, {})[system] = values


def _among_rows(table: Table) -> _Evaluated:
    """Return every row with the baseline row of its group."""
    found = _Evaluated()
    of_line = {id(row.line): row for row in table.rows}
    for name, members in baseline_of(table.spec, [row.line for row in table.rows]).items():
        for place, line in enumerate(members):
            row = of_line[id(line)]
            system = _BASELINE if place == 0 else " | ".join(row.labels)
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None:
                    group = " ".join((*name, column.set))
                    found.add(group, row, column, system)
                    found.cells[group, column.metric, system] = cell
    return found


def _beside_rows(table: Table) -> _Evaluated:
    """Return every row with the first stage, or the teacher, of its own runs."""
    found = _Evaluated()
    for row in table.rows:
        system = " | ".join(row.labels)
        for column, cell in zip(table.columns, row.cells, strict=True):
            if cell is not None:
                group = f"{system}: {column.set}"
                found.add(group, row, column, _BASELINE, table.spec.against)
                found.add(group, row, column, system)
                found.cells[group, column.metric, system] = cell
    return found


def mark(table: Table, settings: Comparing) -> None:
    """Put marks into the cells of a table, and an explanation into its remarks.

    All comparisons of the table are one family, so that the marks control the error over the whole table.

    Parameters
    ----------
    table
        The table; unchanged if its YAML names no baseline.
    settings
        Test and level.

    Raises
    ------
    ConfigError
        No row is the baseline, per-query values are missing, or the queries of two rows differ.
    """
    if not table.spec.baseline and not table.spec.against:
        return
    found = _beside_rows(table) if table.spec.against else _among_rows(table)
    if not any(_BASELINE in systems for metrics in found.values.values() for systems in metrics.values()):
        raise ConfigError("table.baseline: no finished run is the baseline, so nothing can be compared with it")
    # The t-test needs no resamples; computing an interval, which the table does not show, would take most of the time.
    resamples = settings.resamples if settings.test == "randomisation" else _FEWEST
    try:
        compared = compare(found.values, _BASELINE, test=settings.test, resamples=resamples, seed=settings.seed)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for each in compared:
        found.cells[each.set, each.metric, each.system].mark = settings.marks(each)
    table.remarks.append(_meaning(table, settings, compared[0].family if compared else 0))


def values_of(row: TableRow, column: Column, key: str = STUDENT) -> list[Values]:
    """Return the per-query values of a row's student, or of another system of its runs, one mapping per seed.

    Raises
    ------
    ConfigError
        They cannot be read.
    """
    found = {run.seed: run for run in row.line.runs if column.set in run.sets}
    return [_values(found[seed], column, key) for seed in sorted(found)]


def _values(run: Finished, column: Column, key: str) -> dict[str, float]:
    path = run.sets[column.set].prefix
    path = path.with_name(f"{path.name}.{key}.parquet")
    try:
        return read_per_query(path, column.metric)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: values of {column.metric} cannot be read ({error}); run it again, or make the table without "
            "marks: '~table.baseline'"
        ) from None


def _meaning(table: Table, settings: Comparing, family: int) -> str:
    spec = table.spec
    baseline = ", ".join(  # the name of a loss is enough: KL, not Loss KL
        spec.label(key, value) if key == "loss" else f"{spec.title(key)} {spec.label(key, value)}"
        for key, value in spec.baseline.items()
    )
    others = [spec.title(key) for key in spec.rows if key not in spec.baseline]
    same = f" of the same {', '.join(others)}" if others else ""
    than = f"the {BESIDE[spec.against]}" if spec.against else f"{baseline}{same}"
    test = "paired t-test" if settings.test == "t" else f"randomisation test, {settings.resamples:,} resamples"
    return (
        f"▲, ▼: above, below {than} ({test} over queries, values averaged over seeds; Holm-adjusted "
        f"p < {settings.level:g}, family of {family} comparisons)."
    )
