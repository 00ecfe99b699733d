"""Significance marks: every row of a table beside the baseline that agrees with it in all other row keys."""

from limbeck.config import ConfigError
from limbeck.evaluation.comparison import Comparing, compare
from limbeck.evaluation.per_query import read_per_query
from limbeck.evaluation.values import Values
from limbeck.reporting.results.cells import STUDENT, Cell, Column, Table, TableRow
from limbeck.reporting.results.rows import baseline_of
from limbeck.reporting.results.sweep import Finished

_BASELINE = "the baseline"
_FEWEST = 2  # a bootstrap of one has no deviation, and NumPy says so


def mark(table: Table, settings: Comparing) -> None:
    """Put marks into the cells of a table, and into its remarks what they mean.

    All comparisons of the table are one family, so that a mark can be trusted among all of them.

    Parameters
    ----------
    table
        Whose YAML names a baseline; others are left as they are.
    settings
        Test and level.

    Raises
    ------
    ConfigError
        No row is the baseline, values per query are missing, or the queries of two rows differ.
    """
    spec = table.spec
    if not spec.baseline:
        return
    of_line = {id(row.line): row for row in table.rows}
    evaluated: dict[str, dict[str, dict[str, list[Values]]]] = {}
    cells: dict[tuple[str, str, str], Cell] = {}
    for name, members in baseline_of(spec, [row.line for row in table.rows]).items():
        for place, line in enumerate(members):
            row = of_line[id(line)]
            system = _BASELINE if place == 0 else " | ".join(row.labels)
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None:
                    group = " ".join((*name, column.set))
                    found = evaluated.setdefault(group, {}).setdefault(column.metric, {})
                    found[system] = [_values(run, column) for run in _runs(row, column)]
                    cells[group, column.metric, system] = cell
    if not any(_BASELINE in found for metrics in evaluated.values() for found in metrics.values()):
        raise ConfigError("table.baseline: no finished run is the baseline, so nothing can be compared with it")
    # The t-test needs no resamples, and the table shows no interval, which would take most of the time.
    resamples = settings.resamples if settings.test == "randomisation" else _FEWEST
    try:
        compared = compare(evaluated, _BASELINE, test=settings.test, resamples=resamples, seed=settings.seed)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for each in compared:
        cells[each.set, each.metric, each.system].mark = settings.marks(each)
    table.remarks.append(_meaning(table, settings, compared[0].family if compared else 0))


def _runs(row: TableRow, column: Column) -> list[Finished]:
    found = {run.seed: run for run in row.line.runs if column.set in run.sets}
    return [found[seed] for seed in sorted(found)]


def _values(run: Finished, column: Column) -> dict[str, float]:
    path = run.sets[column.set].prefix
    path = path.with_name(f"{path.name}.{STUDENT}.parquet")
    try:
        return read_per_query(path, column.metric)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: values of {column.metric} cannot be read ({error}); run it again, or make the table without "
            "marks: '~table.baseline'"
        ) from None


def _meaning(table: Table, settings: Comparing, family: int) -> str:
    spec = table.spec
    baseline = ", ".join(
        f"{spec.title(key)} {spec.labels.get(key, {}).get(value, value)}" for key, value in spec.baseline.items()
    )
    others = [spec.title(key) for key in spec.rows if key not in spec.baseline]
    same = f" of the same {', '.join(others)}" if others else ""
    test = "paired t-test" if settings.test == "t" else f"randomisation test, {settings.resamples:,} resamples"
    return (
        f"▲, ▼: above, below {baseline}{same} ({test} over queries, values averaged over seeds; Holm-adjusted "
        f"p < {settings.level:g}, family of {family} comparisons)."
    )
