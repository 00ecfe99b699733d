"""The leaderboard: configurations with the mean over their seeds, and every run."""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean, stdev
from typing import Any

from bokeh.models import ColumnDataSource, DataTable, Div, NumberFormatter, StringFormatter, TableColumn, UIElement

from limbeck.reporting.page.pieces import WIDTH, Section, stack, tabs
from limbeck.reporting.page.runs import Sweep, TrainingRun, first_metric, labels, references
from limbeck.reporting.terminal import metrics_of

Cells = dict[str, Any]

_ROW = 26
_MOST = 18
"""Rows of a table before it scrolls."""
_LETTER = 7.2


def leaderboard(sweep: Sweep) -> Section:
    """Return tables of all runs, set by set, best first."""
    intro = (
        "<p>Of each set, the first table has one row a configuration, with the mean over its seeds and the standard "
        "deviation (±, with n − 1; – for one seed), and the first stage and the teacher beside them; the second has "
        "one row a run. What differs among the runs has a column. A click on the head of "
        "a column sorts by it; a second click turns the order round.</p>"
    )
    section = Section("leaderboard", "Leaderboard", intro)
    varied = sweep.varied()
    parts: dict[str, UIElement] = {}
    if len(sweep.sets) > 1:
        whole = _overview(sweep, varied)
        if whole is not None:
            parts["all sets"] = whole
    for group in sweep.sets:
        parts[group] = _of_set(sweep, group, varied)
    section.models = tabs(parts)
    return section


def _settings(runs: Sequence[TrainingRun], varied: Mapping[str, Mapping[str, str]]) -> dict[str, Cells]:
    """Return run id → its configuration, and the overrides that vary among these runs."""
    here = {key: values for key, values in varied.items() if len({values[run.id] for run in runs}) > 1}
    short = labels(runs)
    return {run.id: {"configuration": short[run.name], **{key: here[key][run.id] for key in here}} for run in runs}


def _of_set(sweep: Sweep, group: str, varied: Mapping[str, Mapping[str, str]]) -> UIElement:
    configurations = sweep.on(group)
    runs = [run for each in configurations.values() for run in each]
    settings = _settings(runs, varied)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.values(group)))
    means: list[Cells] = []
    for each in configurations.values():
        row: Cells = {"system": "student", **settings[each[0].id], "seeds": len(each)}
        means.append(row | _over_seeds([run.values(group) for run in each], metrics))
    for other in references(runs, group):
        values = {metric: float(other[metric]) for metric in metrics_of([other]) if metric in metrics}
        means.append({"system": other["system"], **values})
    singles = [
        {"run": run.id, **settings[run.id], "seed": run.seed, **run.values(group), **_training(run)} for run in runs
    ]
    by = metrics[0] if metrics else "seed"
    return stack(
        _heading("Configurations: mean over seeds"),
        table(means, by=by, name=f"configurations of {group}"),
        _heading("Runs"),
        table(singles, by=by, name=f"runs of {group}"),
    )


def _overview(sweep: Sweep, varied: Mapping[str, Mapping[str, str]]) -> UIElement | None:
    """Return a table of the first metric on every set; None where no two sets have a configuration in common."""
    kinds = {
        name: [run for run in sweep.runs if run.name == name] for name in dict.fromkeys(r.name for r in sweep.runs)
    }
    if not any(len(runs[0].places) > 1 for runs in kinds.values()):
        return None
    settings = _settings(sweep.runs, varied)
    rows: list[Cells] = []
    for runs in kinds.values():
        row: Cells = {**settings[runs[0].id], "seeds": len(runs)}
        for group in sweep.sets:
            metric = first_metric(sweep.on(group), group)
            values = [run.values(group)[metric] for run in runs if metric and group in run.places]
            if values:
                row[f"{group} {metric}"] = mean(values)
        rows.append(row)
    by = next((key for row in rows for key in row if key not in settings[sweep.runs[0].id] and key != "seeds"), "seeds")
    return stack(_heading("Configurations: mean over seeds"), table(rows, by=by, name="all sets"))


def _over_seeds(values: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> Cells:
    row: Cells = {}
    for metric in metrics:
        known = [each[metric] for each in values if metric in each]
        if known:
            row[metric] = mean(known)
            row[f"± {metric}"] = stdev(known) if len(known) > 1 else None
    return row


def _training(run: TrainingRun) -> Cells:
    training = run.finished.result.get("training") or {}
    return {key: training.get(key) for key in ("steps", "seconds") if training.get(key) is not None}


def _heading(text: str) -> Div:
    return Div(text=escape(text), styles={"font-weight": "600", "margin-top": "8px"})


def table(rows: Sequence[Cells], *, by: str, name: str) -> DataTable:
    """Return a table that a click on a head sorts.

    Parameters
    ----------
    rows
        Column → text or number; what a row lacks is shown as a dash.
    by
        The column that it is sorted by at first, from high to low.
    name
        Of the model.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    rows = sorted(rows, key=lambda row: -(row.get(by) or 0.0))
    data: Any = {}
    columns = []
    for number, key in enumerate(keys):
        cells = [row.get(key) for row in rows]
        numeric = all(isinstance(cell, int | float) for cell in cells if cell is not None)
        whole = numeric and all(isinstance(cell, int) for cell in cells if cell is not None)
        shown = [_shown(cell, whole) for cell in cells]
        field = f"c{number}"  # a field's name must not be the user's text
        data[field] = cells if numeric else shown
        width = int(_LETTER * max(len(key) + 3, *map(len, shown))) + 14
        form: Any = StringFormatter()
        if numeric:
            pattern = "0" if whole else "0.0" if key == "seconds" else "0.0000"
            form = NumberFormatter(format=pattern, text_align="right", nan_format="–", null_format="–")
        # The head of a column is HTML to the table.
        columns.append(TableColumn(field=field, title=escape(key), formatter=form, width=min(width, 420)))
    return DataTable(
        source=ColumnDataSource(data), columns=columns, name=name, index_position=None, autosize_mode="none",
        width=min(WIDTH, sum(each.width for each in columns) + 40), height=_ROW * (min(len(rows), _MOST) + 1) + 20,
        row_height=_ROW, selectable=True, reorderable=False,
    )  # fmt: skip


def _shown(cell: Any, whole: bool) -> str:
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) and not whole else str(cell)
