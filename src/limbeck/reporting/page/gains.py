"""Gains over a baseline by the teacher's quality on each query."""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Div, HoverTool, Span, UIElement

from limbeck.analysis.quality import EDGES, Bucket, by_teacher, quality_metric
from limbeck.config import ConfigError
from limbeck.labels import metric as metric_name
from limbeck.reporting.drawing import PALETTE, limits
from limbeck.reporting.page.pieces import GREY, WIDTH, Section, grid, panel, sentence, stack, tabs
from limbeck.reporting.page.runs import Sweep, chosen, first_metric, fits, labels
from limbeck.reporting.results.finished import Member, gathered

_LETTER = 6.2


def gains(sweep: Sweep, baseline: str | None) -> Section:
    """Return the gain of each configuration over the baseline in buckets of the teacher's quality.

    Parameters
    ----------
    sweep
        The runs.
    baseline
        A configuration's name, a run's id, or overrides; None takes the first configuration of each set.

    Raises
    ------
    ConfigError
        The baseline fits no run, or runs of several configurations on one set.
    """
    edges = " and ".join(f"{edge:g}" for edge in EDGES)
    intro = (
        f"<p>Queries are put into buckets by how good the teacher is on them (borders {edges}). A point is the mean "
        "difference between configuration and baseline over the queries of a bucket (values averaged over seeds "
        "first); the bar is its 95 % interval over queries (Student’s t). Right of the line the configuration is "
        "better than the baseline. Very wide intervals extend beyond the figure.</p>"
    )
    section = Section("gains", "Gain by the teacher’s quality", intro)
    sentences: list[str] = []
    parts: dict[str, UIElement] = {}
    if baseline is not None and not any(fits(baseline, run) for run in sweep.runs):
        names = ", ".join(dict.fromkeys(run.name for run in sweep.runs))
        raise ConfigError(f"baseline: {baseline!r} is no configuration ({names}), no run's id, nor overrides of a run")
    for group in sweep.sets:
        try:
            parts[group] = _of_set(sweep, group, baseline)
        except _MissingError as missing:
            sentences.append(f"{escape(group)}: {escape(str(missing))}.")
    section.models = tabs(parts)
    section.html = "".join(map(sentence, sentences))
    return section


class _MissingError(Exception):
    """The reason why a set has no figure."""


def _of_set(sweep: Sweep, group: str, baseline: str | None) -> UIElement:
    configurations = sweep.on(group)
    if len(configurations) < 2:
        raise _MissingError("there is one configuration only, so nothing to gain over")
    metric = first_metric(configurations, group)
    if metric is None:
        raise _MissingError("the runs have no metric in common")
    first = chosen(configurations, group, baseline)
    if first is None:
        raise _MissingError(f"the baseline {baseline} was not evaluated here")
    systems = [
        Member(name, run.seed, {group: run.places[group]}) for name, runs in configurations.items() for run in runs
    ]
    try:
        found = gathered(systems, [metric])[group]
        if found.teacher is None:
            raise _MissingError(
                "there is no teacher, or not the same for all runs, so its quality is no common measure"
            )
        quality = quality_metric(found.teacher)
        values = found.values[metric]
        buckets = {
            name: by_teacher(found.teacher[quality], values[first], seeds)
            for name, seeds in values.items()
            if name != first
        }
    except (ConfigError, ValueError) as error:
        raise _MissingError(str(error)) from None
    short = labels(run for runs in configurations.values() for run in runs)
    heading = f"Baseline: {short[first]}, {len(configurations[first])} seeds. Metric: {metric_name(metric)}."
    wrapped = {"\n".join(textwrap.wrap(short[name], 48)): each for name, each in buckets.items()}
    return stack(Div(text=escape(heading), styles={"font-weight": "600"}), _figures(wrapped, metric, quality))


def _figures(buckets: Mapping[str, Sequence[Bucket]], metric: str, quality: str) -> UIElement:
    systems = list(buckets)
    everything = [one for found in buckets.values() for one in found]
    sides = sorted({(one.low, one.high) for one in everything})
    limit = limits([one.gain for one in everything], [one.half_width for one in everything])
    letters = int(max(len(line) for name in systems for line in name.split("\n")) * _LETTER)
    width = (WIDTH - 20 - letters) // len(sides) - 10
    plots = []
    for number, side in enumerate(sides):
        here = {name: one for name, found in buckets.items() for one in found if (one.low, one.high) == side}
        first = next(iter(here.values()))
        title = f"teacher’s {metric_name(quality)} {side[0]:g} to {side[1]:g}\n"
        title += f"{first.queries:,} quer{'y' if first.queries == 1 else 'ies'}, baseline {first.baseline:.3f}"
        plot = panel(
            title, f"gain in {metric_name(metric)}", "", y_range=systems[::-1], x_range=limit,
            height=110 + 34 * len(systems),
            width=width + (letters if number == 0 else 0),
        )  # fmt: skip
        if number:
            plot.yaxis.major_label_text_font_size = "0px"
        plot.title.text_font_size = "12px"
        plot.xaxis.ticker.desired_num_ticks = 4  # pyright: ignore[reportAttributeAccessIssue]
        plot.ygrid.grid_line_color = None
        plot.add_layout(Span(location=0, dimension="height", line_color=GREY))
        _draw(plot, here)
        plots.append(plot)
    return grid(plots, len(plots))


def _draw(plot: Any, here: Mapping[str, Bucket]) -> None:
    found = list(here.values())
    gain = np.array([one.gain for one in found])
    half = np.array([one.half_width for one in found])
    data = {
        "system": list(here), "gain": gain, "half": half,
        "low": gain - np.nan_to_num(half), "high": gain + np.nan_to_num(half),
        "queries": [one.queries for one in found], "own": [one.system for one in found],
        "teacher": [one.teacher for one in found],
    }  # fmt: skip
    source = ColumnDataSource(data)
    plot.segment("low", "system", "high", "system", source=source, color=PALETTE[0], line_width=2)
    points = plot.scatter("gain", "system", source=source, size=9, color=PALETTE[0])
    tips = [
        ("", "@system"), ("gain", "@gain{+0.0000} ± @half{0.0000}"), ("value", "@own{0.0000}"),
        ("teacher", "@teacher{0.0000}"), ("queries", "@queries"),
    ]  # fmt: skip
    plot.add_tools(HoverTool(renderers=[points], tooltips=tips))
