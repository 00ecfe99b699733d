"""The leaderboard: configurations with the mean over their seeds, and every run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import mean, stdev
from typing import Any

from bokeh.models import (
    ColumnDataSource,
    DataTable,
    Div,
    HTMLTemplateFormatter,
    NumberFormatter,
    StringFormatter,
    TableColumn,
    UIElement,
)

from limbeck.evaluation.comparison import compare
from limbeck.evaluation.comparison import marks as marks_of
from limbeck.evaluation.per_query import read_per_query
from limbeck.labels import group as written_group
from limbeck.labels import heading
from limbeck.reporting.page.pieces import WIDTH, Section, stack, tabs
from limbeck.reporting.page.runs import Sweep, TrainingRun, chosen, first_metric, labels, references
from limbeck.reporting.terminal import metrics_of

Cells = dict[str, Any]

_ROW = 26
_MOST = 18
"""Rows of a table before it scrolls."""
_LETTER = 7.2
_BAR = 40
"""Width in pixels of a table beside its columns."""
_WIDEST = 340
DIGITS = 4
_FEWEST = 2
"""Resamples of the bootstrap: its interval is not shown, and a single one would have no deviation."""

# Templates of Underscore.js; <%- escapes HTML.
_BOLD = '<div style="text-align:right"><% if (b0) { %><b><%- t0 %></b><% } else { %><%- t0 %><% } %></div>'


@dataclass(frozen=True)
class Shown:
    """A mean as shown in a cell."""

    value: float
    """The mean, by which the column is sorted."""
    std: float | None = None
    mark: str = ""
    """``▲`` or ``▼`` for a significant difference from the baseline."""
    best: bool = False

    def text(self, digits: int) -> str:
        """Return mean, deviation and mark."""
        spread = "" if self.std is None else f" ± {self.std:.{digits}f}"
        return f"{self.value:.{digits}f}{spread}{f' {self.mark}' if self.mark else ''}"


def leaderboard(sweep: Sweep, baseline: str | None = None) -> Section:
    """Return tables of all runs, set by set, best first.

    Parameters
    ----------
    sweep
        The runs.
    baseline
        The baseline of the marks: a configuration's name, a run's id, or overrides; None takes the first configuration.
    """
    intro = (
        "<p>For each set, the first table has one row per configuration: the mean over its seeds ± the standard "
        "deviation (n − 1; none for one seed), and first stage and teacher. The second has one row per run. "
        "Bold: the best student. Configurations are named by the keys in which they differ; "
        '<a href="#differences">Differences</a> lists all of these. Click the head of a column to sort by it, and '
        "again to reverse the order.</p>"
    )
    section = Section("leaderboard", "Leaderboard", intro)
    parts: dict[str, UIElement] = {}
    if len(sweep.sets) > 1:
        whole = _overview(sweep)
        if whole is not None:
            parts["all sets"] = whole
    for group in sweep.sets:
        parts[written_group(group)] = _of_set(sweep, group, baseline)
    section.models = tabs(parts)
    return section


def _of_set(sweep: Sweep, group: str, baseline: str | None) -> UIElement:
    configurations = sweep.on(group)
    runs = [run for each in configurations.values() for run in each]
    short = labels(runs)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.values(group)))
    marks, said = _marks(configurations, group, metrics, chosen(configurations, group, baseline), baseline)
    rows: dict[str, dict[str, Shown]] = {
        name: _over_seeds([run.values(group) for run in each], metrics, marks.get(name, {}))
        for name, each in configurations.items()
    }
    means = [
        {"configuration": short[name], "seeds": len(configurations[name]), **row} for name, row in _best(rows).items()
    ]
    for other in references(runs, group):
        values = {metric: Shown(float(other[metric])) for metric in metrics_of([other]) if metric in metrics}
        means.append({"configuration": other["system"], **values})
    singles = [
        {"run": run.id, "configuration": short[run.name], "seed": run.seed, **run.values(group), **_training(run)}
        for run in runs
    ]
    by = metrics[0] if metrics else "seed"
    return stack(
        _heading(f"Configurations: mean over seeds. {said}"),
        table(means, by=by, name=f"configurations of {group}"),
        _heading("Runs"),
        table(singles, by=by, name=f"runs of {group}"),
    )


def _marks(
    configurations: Mapping[str, Sequence[TrainingRun]],
    group: str,
    metrics: Sequence[str],
    first: str | None,
    asked: str | None,
) -> tuple[dict[str, dict[str, str]], str]:
    """Return configuration → metric → mark, and a sentence that explains the marks."""
    if len(configurations) < 2:
        return {}, ""
    if first is None:
        return {}, f"The baseline {asked} was not evaluated here, so there are no marks."
    values = {
        metric: {
            name: [read_per_query(run.places[group].per_query, metric) for run in runs]
            for name, runs in configurations.items()
            if all(metric in run.values(group) for run in runs)
        }
        for metric in metrics
    }
    try:
        found = compare({group: values}, first, resamples=_FEWEST)  # the t-test needs none
    except (OSError, ValueError, KeyError) as error:
        return {}, f"No marks: {error}."
    marked: dict[str, dict[str, str]] = {}
    for each in found:
        marked.setdefault(each.system, {})[each.metric] = marks_of(each)
    name = labels(run for runs in configurations.values() for run in runs)[first]
    how = "chosen by baseline=" if asked is not None else "the first configuration; baseline= chooses another"
    return marked, (
        f"▲, ▼: above, below the baseline {name} ({how}); paired t-test over queries, Holm-adjusted p < 0.05, family "
        f"of {found[0].family if found else 0} comparisons."
    )


def _best(rows: dict[str, dict[str, Shown]]) -> dict[str, dict[str, Shown]]:
    """Return the rows with the highest mean of each column marked as best; means are compared as shown."""
    for column in dict.fromkeys(column for row in rows.values() for column in row):
        known = {name: round(row[column].value, DIGITS) for name, row in rows.items() if column in row}
        for name, value in known.items():
            if len(known) > 1 and value == max(known.values()):
                rows[name][column] = replace(rows[name][column], best=True)
    return rows


def _overview(sweep: Sweep) -> UIElement | None:
    """Return a table of the first metric on every set; None if no configuration is on two sets."""
    kinds = {
        name: [run for run in sweep.runs if run.name == name] for name in dict.fromkeys(r.name for r in sweep.runs)
    }
    if not any(len(runs[0].places) > 1 for runs in kinds.values()):
        return None
    short = labels(sweep.runs)
    rows: dict[str, dict[str, Shown]] = {name: {} for name in kinds}
    for name, runs in kinds.items():
        for group in sweep.sets:
            metric = first_metric(sweep.on(group), group)
            values = [run.values(group)[metric] for run in runs if metric and group in run.places]
            if values:
                rows[name][f"{written_group(group)} {heading(metric or '')}"] = Shown(mean(values))
    cells = [{"configuration": short[name], "seeds": len(kinds[name]), **row} for name, row in _best(rows).items()]
    by = next((key for row in rows.values() for key in row), "seeds")
    return stack(_heading("Configurations: mean over seeds"), table(cells, by=by, name="all sets"))


def _over_seeds(
    values: Sequence[Mapping[str, float]], metrics: Sequence[str], marks: Mapping[str, str]
) -> dict[str, Shown]:
    row = {}
    for metric in metrics:
        known = [each[metric] for each in values if metric in each]
        if known:
            row[metric] = Shown(mean(known), stdev(known) if len(known) > 1 else None, marks.get(metric, ""))
    return row


def _training(run: TrainingRun) -> Cells:
    training = run.finished.result.get("training") or {}
    return {key: training.get(key) for key in ("steps", "seconds") if training.get(key) is not None}


def _heading(text: str) -> Div:
    return Div(
        text=escape(text),
        width=WIDTH,
        styles={"font-weight": "600", "margin-top": "8px", "max-width": "calc(100vw - 4rem)"},
    )


def table(rows: Sequence[Cells], *, by: str, name: str) -> DataTable:
    """Return a table that is sorted by a click on the head of a column.

    Parameters
    ----------
    rows
        Column → text or number; a missing value is shown as a dash.
    by
        Column of the initial order, from high to low.
    name
        Name of the model.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    rows = sorted(rows, key=lambda row: -_number(row.get(by)))
    for digits in (DIGITS, DIGITS - 1):  # fewer digits where it is too wide
        data: dict[str, Any] = {}
        columns = [
            _column(number, key, [row.get(key) for row in rows], data, digits) for number, key in enumerate(keys)
        ]
        if sum(each.width for each in columns) + _BAR <= WIDTH:
            break
    return DataTable(
        source=ColumnDataSource(data), columns=columns, name=name, index_position=None, autosize_mode="none",
        width=min(WIDTH, sum(each.width for each in columns) + _BAR), height=_ROW * (min(len(rows), _MOST) + 1) + 20,
        row_height=_ROW, selectable=True, reorderable=False,
    )  # fmt: skip


def _column(number: int, key: str, cells: Sequence[Any], data: dict[str, Any], digits: int) -> TableColumn:
    """Return a column, and put its values into ``data`` under a generated field name: users' text must not be one."""
    field = f"c{number}"
    title = heading(key)
    if any(isinstance(cell, Shown) for cell in cells):
        shown = ["–" if cell is None else cell.text(digits) for cell in cells]
        data[field] = [_number(cell) for cell in cells]
        data[f"t{number}"], data[f"b{number}"] = shown, [cell is not None and cell.best for cell in cells]
        template = _BOLD.replace("t0", f"t{number}").replace("b0", f"b{number}")
        form: Any = HTMLTemplateFormatter(template=template)
    else:
        numeric = all(isinstance(cell, int | float) for cell in cells if cell is not None)
        whole = numeric and all(isinstance(cell, int) for cell in cells if cell is not None)
        shown = [_shown(cell, whole, digits) for cell in cells]
        data[field] = list(cells) if numeric else shown
        form = StringFormatter()
        if numeric:
            pattern = "0" if whole else "0.0" if key == "seconds" else f"0.{'0' * digits}"
            form = NumberFormatter(format=pattern, text_align="right", nan_format="–", null_format="–")
    width = int(_LETTER * max(len(title) + 3, *map(len, shown))) + 14
    # The table treats the head of a column as HTML.
    return TableColumn(field=field, title=escape(title), formatter=form, width=min(width, _WIDEST))


def _number(cell: Any) -> float:
    return cell.value if isinstance(cell, Shown) else float(cell or 0.0)


def _shown(cell: Any, whole: bool, digits: int) -> str:
    if cell is None:
        return ""
    return f"{cell:.{digits}f}" if isinstance(cell, float) and not whole else str(cell)
