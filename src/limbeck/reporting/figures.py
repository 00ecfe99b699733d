"""Figures of the analyses, one PNG and one PDF each.

Every function draws, writes its files and returns the figure. Systems differ by colour and marker; metrics and
configurations have the names used in papers (``limbeck.labels``). An interval that is much wider than the others (for a
handful of queries) is cut off without a cap, so that the others stay legible.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from limbeck.analysis.calibration import ALL, RIGHT, WRONG, Summary
from limbeck.analysis.means import mean
from limbeck.analysis.quality import Bucket
from limbeck.evaluation.significance import ROUNDING
from limbeck.evaluation.values import Values, aligned
from limbeck.labels import configuration as written
from limbeck.labels import metric as metric_name
from limbeck.reporting.drawing import (
    COLUMNS,
    DPI,
    PAGE,
    PALETTE,
    canvas,
    grid,
    legend,
    limits,
    look,
    padded,
    plain,
    save,
    styled,
    wrapped,
)

_BETTER, _WORSE, _MARK, _GREY = PALETTE[0], PALETTE[1], "#000000", "#8a8f94"
_LEAST = 6.0
_PARTS = {"kl": "KL", "kl_positives": "positives' part", "kl_negatives": "negatives' part"}
_LISTS = {ALL: "all lists", RIGHT: "a positive is the teacher's first", WRONG: "a negative is the teacher's first"}


@styled
def gain_by_teacher(
    path: Path, buckets: Mapping[str, Sequence[Bucket]], *, metric: str, baseline: str, teacher: str | None = None
) -> Figure:
    """Draw the gain of each system over the baseline, in buckets of the teacher's own value.

    Parameters
    ----------
    path
        Path of the PNG.
    buckets
        System → its buckets, of the same teacher and queries (``limbeck.analysis.quality.by_teacher``).
    metric
        Name of the metric of the gain.
    baseline
        Name of the baseline.
    teacher
        Name of the teacher's value, if it is another metric: ``the teacher's mrr@10``.

    Raises
    ------
    ValueError
        The systems have different buckets, or there are none.
    """
    sides = {system: [(one.low, one.high, one.queries) for one in found] for system, found in buckets.items()}
    if not sides or not all(sides.values()):
        raise ValueError("there are no buckets to draw")
    (first, shape), *others = sides.items()
    for system, other in others:
        if other != shape:
            raise ValueError(f"{system} and {first} have different buckets; compare on the same teacher and queries")
    figure, (axes,) = canvas()
    axes.axhline(0, color=_MARK, linewidth=0.9)
    step = 0.8 / max(len(buckets), 3)
    for number, found in enumerate(buckets.values()):
        places = np.arange(len(found)) + (number - (len(buckets) - 1) / 2) * step
        colour, marker = look(number)
        axes.errorbar(
            places, [one.gain for one in found], [one.half_width for one in found],
            fmt=marker, color=colour, markersize=4.5, capsize=2, elinewidth=1.1,
        )  # fmt: skip
    every = [one for found in buckets.values() for one in found]
    low, high = limits([one.gain for one in every], [one.half_width for one in every])
    axes.set(xlim=(-0.5, len(shape) - 0.5), ylim=(low, high), ylabel=f"gain in {metric_name(metric)}")
    names = [
        f"{one.low:g} to {one.high:g}\n{_count(one.queries, 'query', 'queries')}\nmean {one.teacher:.2f}"
        for one in buckets[first]
    ]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel(wrapped(teacher or f"the teacher's {metric_name(metric)}", 46))
    figure.set_figheight(2.5 + 0.14 * legend(figure, list(map(written, buckets))))
    save(figure, path, f"Gain over {written(baseline)} by the teacher's quality (mean, 95 % interval)")
    return figure


@styled
def against_teacher(
    path: Path, teacher: Values, systems: Mapping[str, Sequence[Values]], *, metric: str, name: str = "the teacher"
) -> Figure:
    """Draw each system's value against the teacher's, query by query; larger points stand for more queries.

    Parameters
    ----------
    path
        Path of the PNG.
    teacher
        The teacher's value of each query, between 0 and 1.
    systems
        System → its values, one mapping per seed.
    metric
        Name of the metric.
    name
        Name of the teacher.

    Raises
    ------
    ValueError
        The queries differ, a value is not finite, or there are none.
    """
    if not systems:
        raise ValueError("there are no systems to draw")
    queries, (taught, *values) = aligned([teacher], *systems.values())
    figure, panels = grid(len(systems), 2.55)
    found = [_points(taught, value) for value in values]
    largest = max(int(counts.max()) for _, _, counts in found)
    each = min(14.0, 300.0 / largest)  # area of a point per query, in square points
    for axes, system, value, (x, y, counts) in zip(panels, systems, values, found, strict=True):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
        axes.scatter(x, y, _LEAST + counts * each, color=_BETTER, alpha=0.55, linewidths=0, clip_on=False, zorder=3)
        axes.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        _heading(axes, system, _sides(value - taught, "above", "below"))
        axes.set_xlabel(f"the teacher's {metric_name(metric)}")
    for axes in panels[::COLUMNS]:
        axes.set_ylabel(f"the system's {metric_name(metric)}")
    sizes = sorted({1, ceil(largest / 4), largest})
    handles = [
        Line2D([], [], linestyle="", marker="o", color=_BETTER, alpha=0.55, markeredgewidth=0,
               markersize=(_LEAST + size * each) ** 0.5, label=_count(size, "query", "queries"))
        for size in sizes
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, columnspacing=2)
    title = f"{metric_name(metric)} of each query against {written(name)} ({_count(len(queries), 'query', 'queries')})"
    save(figure, path, title)
    return figure


@styled
def sorted_gains(
    path: Path, baseline: Sequence[Values], systems: Mapping[str, Sequence[Values]], *, metric: str, name: str
) -> Figure:
    """Draw the gain of every query over the baseline, sorted, with the mean.

    Parameters
    ----------
    path
        Path of the PNG.
    baseline
        The baseline's values, one mapping per seed.
    systems
        System → its values, one mapping per seed.
    metric
        Name of the metric.
    name
        Name of the baseline.

    Raises
    ------
    ValueError
        The queries differ, a value is not finite, or there are none.
    """
    if not systems:
        raise ValueError("there are no systems to draw")
    queries, (before, *values) = aligned(baseline, *systems.values())
    figure, panels = grid(len(systems), 2.2)
    edges = np.arange(len(queries) + 1) + 0.5
    reach = max(1.08 * max(float(np.abs(value - before).max()) for value in values), 0.01)
    for axes, system, value in zip(panels, systems, values, strict=True):
        gains = np.sort(value - before)[::-1]
        for part, colour in ((gains.clip(min=0), _BETTER), (gains.clip(max=0), _WORSE)):
            axes.fill_between(edges, np.append(part, part[-1]), step="post", color=colour, linewidth=0)
        average = mean(gains)
        axes.axhline(0, color=_MARK, linewidth=0.8)
        axes.axhline(average.value, color=_MARK, linewidth=1.4, linestyle="--")
        axes.set(xlim=(0.5, len(queries) + 0.5), ylim=(-reach, reach))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        width = "" if np.isnan(average.half_width) else f" ± {average.half_width:.3f}"
        _heading(axes, system, f"{_sides(gains, 'better', 'worse')}\nmean {average.value:+.3f}{width} (dashed)")
        axes.set_xlabel("queries, by gain")
    for axes in panels[::COLUMNS]:
        axes.set_ylabel(f"gain in {metric_name(metric)}")
    count = _count(len(queries), "query", "queries")
    title = f"Gain in {metric_name(metric)} over {written(name)}, query by query ({count})"
    save(figure, path, title)
    return figure


@styled
def calibration(path: Path, summaries: Sequence[Summary]) -> Figure:
    """Draw the divergence from the teacher and its two parts, for each system and split.

    Parameters
    ----------
    path
        Path of the PNG.
    summaries
        From ``limbeck.analysis.calibration.summarise``.

    Raises
    ------
    ValueError
        There are no summaries.
    """
    if not summaries:
        raise ValueError("there are no lists with positives and negatives to draw")
    systems = list(dict.fromkeys(one.system for one in summaries))
    splits = list(dict.fromkeys(one.split for one in summaries))
    subsets = [subset for subset in (ALL, RIGHT, WRONG) if any(one.subset == subset for one in summaries)]
    names = [wrapped(written(system), 36) for system in systems]
    lines = sum(max(2, name.count("\n") + 1) for name in names)
    height = 0.8 + 0.135 * lines
    figure = Figure(figsize=(PAGE, height * len(subsets) + 0.5), dpi=DPI, layout=padded())
    for part, subset in zip(np.atleast_1d(figure.subfigures(len(subsets), 1)), subsets, strict=True):  # pyright: ignore
        chosen = [one for one in summaries if one.subset == subset]
        heading = [f"{split}: {_range([one.lists for one in chosen if one.split == split])}" for split in splits]
        part.suptitle(f"{_LISTS[subset]} ({', '.join(heading)})", x=0.015, ha="left", fontsize=7.5)
        row = part.subplots(1, len(_PARTS), sharey=True)
        for axes, (quantity, label) in zip(row, _PARTS.items(), strict=True):
            _dots(axes, chosen, systems, splits, quantity)
            axes.set_yticks(range(len(names)), names)
            axes.set_xlabel(f"{label}, nats a list")
    legend(figure, splits)
    save(figure, path, "Divergence of the students from the teacher (mean, 95 % interval over lists)")
    return figure


def _dots(axes: Axes, chosen: Sequence[Summary], systems: Sequence[str], splits: Sequence[str], quantity: str) -> None:
    plain(axes, "x")
    axes.axvline(0, color=_MARK, linewidth=0.9)
    for i, split in enumerate(splits):
        here = [one for one in chosen if one.split == split]
        if not here:
            continue
        places = [systems.index(one.system) + (i - (len(splits) - 1) / 2) * 0.34 for one in here]
        means = [one.means[quantity] for one in here]
        colour, marker = look(i)
        axes.errorbar(
            [each.value for each in means], places, xerr=[each.half_width for each in means],
            fmt=marker, color=colour, markersize=4, capsize=2, elinewidth=1.1,
        )  # fmt: skip
    found = [one.means[quantity] for one in chosen]
    axes.set(
        xlim=limits([each.value for each in found], [each.half_width for each in found]),
        ylim=(len(systems) - 0.5, -0.5),
    )
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _heading(axes: Axes, system: str, facts: str) -> None:
    axes.set_title(f"{wrapped(written(system), 32)}\n{facts}", loc="left")


def _points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct points, rounded to two digits, and the number of queries at each; crowded points first."""
    places, counts = np.unique(np.stack([x, y], axis=1).round(2), axis=0, return_counts=True)
    by_count = np.argsort(-counts, kind="stable")  # small points are drawn over large ones
    return places[by_count, 0], places[by_count, 1], counts[by_count]


def _sides(gains: np.ndarray, more: str, less: str) -> str:
    above, below = int((gains > ROUNDING).sum()), int((gains < -ROUNDING).sum())
    return wrapped(f"{above:,} {more}, {below:,} {less}, {len(gains) - above - below:,} equal", 34)


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
