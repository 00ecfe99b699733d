"""Learning curves from the files of the CSV logger."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, UIElement

from limbeck.labels import curve as headed
from limbeck.reporting.page.pieces import Section, grid, legend, look, panel, sentence, stack, tabs
from limbeck.reporting.page.runs import Sweep, labels
from limbeck.training import validations

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values."""

BINS = 150
"""Most points of a curve."""

_RATIO = "diagnostics/terms_ratio"


def learning_curves(sweep: Sweep) -> Section:
    """Return the curves of loss terms and of the validation metric, one tab per collection."""
    intro = (
        "<p>Each line is the mean over the seeds of a configuration, the band one standard deviation to either side "
        "(none for one seed). Terms of the loss are drawn as logged, not weighted. Losses cannot be compared by "
        "their weighted sum, but by the KL to the teacher, which is the plain KL for every loss. "
        f"{escape(headed(_RATIO).capitalize())} is the part of the loss from negatives divided by the part from "
        "positives, in sums of |term|, for losses that are sums over candidates, such as KL and CKL. Curves of "
        f"more than {BINS} points are averaged over {BINS} equal spans of steps. A click on a name hides its lines.</p>"
    )
    section = Section("curves", "Learning curves", intro)
    sentences: list[str] = []
    parts: dict[str, UIElement] = {}
    validated = False
    for group, configurations in sweep.own().items():
        read = {name: [curves(run.path / "metrics") for run in runs] for name, runs in configurations.items()}
        columns = _columns([curve for each in read.values() for curve in each])
        validated |= any(column.startswith("dev/") for column in columns)
        if columns:
            short = labels(run for runs in configurations.values() for run in runs)
            parts[group] = _figures({short[name]: each for name, each in read.items()}, columns)
        else:
            sentences.append(
                f"The runs on {escape(group)} have no metrics/version_N/metrics.csv with losses (logger=csv)."
            )
    if parts and not validated:
        sentences.append("No run has validated while it trained (trainer.validate_every=0, or no dev split).")
    section.models = tabs(parts)
    section.html = "".join(map(sentence, sentences))
    return section


def curves(folder: Path) -> dict[str, Curve]:
    """Read all versions of a run's ``metrics.csv``: column → steps and values.

    A resumed run has several versions. Where two have a value of the same step, the later version counts.

    Parameters
    ----------
    folder
        ``metrics`` in the run's folder, with ``version_N``; may be absent.
    """
    points: dict[str, dict[int, float]] = {}
    validated = {each.step for each in validations.read(folder.parent)}
    for path in sorted(folder.glob("version_*/metrics.csv"), key=_number):
        for column, values in _columns_of(path, validated).items():
            points.setdefault(column, {}).update(values)
    return {
        column: (np.array(sorted(known)), np.array([known[step] for step in sorted(known)]))
        for column, known in points.items()
    }


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.parent.name) or -1)


def _columns_of(path: Path, validated: set[int]) -> dict[str, dict[int, float]]:
    """Return column → steps done → value, without values that are not finite and without a last line cut off by a kill.

    Lightning numbers training steps from 0, but after the training it writes the number of steps done; the last
    validation has that number.
    """
    found: dict[str, dict[int, float]] = {}
    whole, _, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    for row in csv.DictReader(whole.splitlines()):
        step = _number_in(row.get("step"))
        for column, cell in row.items():
            if column == _RATIO or (column or "").startswith(("train/", "dev/")):
                value = _number_in(cell)
                if math.isfinite(step) and math.isfinite(value):
                    after = column.startswith("dev/") and int(step) in validated and int(step) + 1 not in validated
                    found.setdefault(column, {})[int(step) + (not after)] = value
    return found


def _number_in(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def over_seeds(seeds: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps, mean and standard deviation (n - 1; NaN for one seed), with at most ``BINS`` points.

    Parameters
    ----------
    seeds
        One curve per seed; a step that some lack is averaged over the others.
    """
    steps = np.unique(np.concatenate([steps for steps, _ in seeds]))
    bins = np.arange(len(steps))
    if len(steps) > BINS:
        bins = np.minimum((steps - steps[0]) * BINS // (steps[-1] - steps[0]), BINS - 1)
    places = np.unique(bins, return_inverse=True)[1]
    count = places.max() + 1
    values = np.full((len(seeds), count), np.nan)
    for row, (own, curve) in zip(values, seeds, strict=True):
        at = places[np.searchsorted(steps, own)]
        number = np.bincount(at, minlength=count)
        row[number > 0] = np.bincount(at, curve, minlength=count)[number > 0] / number[number > 0]
    there = np.isfinite(values).sum(0)
    mean = np.nansum(values, 0) / there
    squares = np.nansum((values - mean) ** 2, 0)
    spread = np.sqrt(np.divide(squares, there - 1, out=np.full(count, np.nan), where=there > 1))
    return np.bincount(places, steps) / np.bincount(places), mean, spread


def _columns(read: Sequence[Mapping[str, Curve]]) -> list[str]:
    """Return the columns to draw: validation, the total loss, the KL to the teacher, terms, the ratio."""
    known = list(dict.fromkeys(column for each in read for column, (steps, _) in each.items() if len(steps)))
    first = [column for column in known if column.startswith("dev/")]
    first += [column for column in ("train/loss", "train/kl_to_teacher", _RATIO) if column in known]
    return first + sorted(column for column in known if column not in first)


def _figures(read: Mapping[str, Sequence[Mapping[str, Curve]]], columns: Sequence[str]) -> UIElement:
    drawn: dict[str, list[Any]] = {name: [] for name in read}
    plots = []
    for column in columns:
        plot = panel(headed(column), "step of the training", "")
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")  # otherwise 2.000e+4
        plot.xaxis.ticker.min_interval = 1
        plot.x_range.start = 0
        plot.yaxis.formatter.power_limit_low = -5  # 0.005 instead of 5.000e-3
        lines = []
        for number, (name, seeds) in enumerate(read.items()):
            known = [each[column] for each in seeds if column in each and len(each[column][0])]
            if not known:
                continue
            steps, mean, spread = (each.astype(np.float32) for each in over_seeds(known))
            data = {"step": steps, "mean": mean, "low": mean - spread, "high": mean + spread}
            source = ColumnDataSource({**data, "configuration": [name] * len(steps)})
            colour, dash = look(number)
            if np.isfinite(spread).any():
                drawn[name].append(plot.varea("step", "low", "high", source=source, fill_color=colour, fill_alpha=0.15))
            line = plot.line("step", "mean", source=source, color=colour, line_dash=dash, line_width=2)
            if len(steps) == 1:
                drawn[name].append(plot.scatter("step", "mean", source=source, color=colour, size=6))
            drawn[name].insert(0, line)
            lines.append(line)
        tips = [("", "@configuration"), ("step", "@step{0}"), (headed(column), "@mean{0.0000}")]
        plot.add_tools(HoverTool(renderers=lines, tooltips=tips))
        plots.append(plot)
    return stack(legend({name: each for name, each in drawn.items() if each}), grid(plots))
