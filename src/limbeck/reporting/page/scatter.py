"""Students against their teachers, query by query."""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, UIElement

from limbeck.evaluation.per_query import read_per_query
from limbeck.evaluation.values import Values, aligned
from limbeck.labels import metric as metric_name
from limbeck.reporting.drawing import PALETTE
from limbeck.reporting.page.pieces import GREY, WIDTH, Section, grid, panel, sentence, tabs
from limbeck.reporting.page.runs import Sweep, TrainingRun, first_metric, labels

Pair = tuple[list[str], np.ndarray, np.ndarray]
"""Queries, the teacher's values, the student's."""

POINTS = 12_000
"""Most points on the page, over all sets and configurations."""


def against_teacher(sweep: Sweep) -> Section:
    """Return a figure per configuration, one tab per set; each point is a query."""
    intro = (
        "<p>Each point is a query: x is the teacher's value, y the student's (mean over seeds). Above the line the "
        "student is better than its teacher. Equal points overlap and look darker. Hovering over a "
        "point shows the query's id. The title counts the queries on which the student is above, below and equal."
    )
    section = Section("teacher", "Student against teacher, query by query", intro)
    sentences: list[str] = []
    pairs: dict[str, dict[str, Pair]] = {}
    metrics: dict[str, str] = {}
    for group in sweep.sets:
        configurations = sweep.on(group)
        metric = first_metric(configurations, group)
        short = labels(run for runs in configurations.values() for run in runs)
        for name, runs in configurations.items():
            if metric is None or any(run.places[group].teacher is None for run in runs):
                sentences.append(f"{escape(group)}, {escape(short[name])}: there are no values of a teacher.")
                continue
            try:
                pairs.setdefault(group, {})[short[name]] = _pair(runs, group, metric)
                metrics[group] = metric
            except (ValueError, OSError, KeyError) as error:
                sentences.append(f"{escape(group)}, {escape(short[name])}: {escape(str(error))}.")
    most = _most([len(each[0]) for found in pairs.values() for each in found.values()])
    if any(len(each[0]) > most for found in pairs.values() for each in found.values()):
        section.intro += f" Of more than {most:,} queries, {most:,} drawn at random (the same for all) are shown."
    section.intro += "</p>"
    section.models = tabs({group: _figures(found, metrics[group], most) for group, found in pairs.items()})
    section.html = "".join(map(sentence, sentences))
    return section


def _pair(runs: Sequence[TrainingRun], group: str, metric: str) -> Pair:
    """Return queries, the teacher's values and the student's; both are means over the runs, one per seed."""
    teachers: list[Values] = []
    students: list[Values] = []
    for run in runs:
        place = run.places[group]
        assert place.teacher is not None
        teachers.append(read_per_query(place.teacher, metric))
        students.append(read_per_query(place.per_query, metric))
    queries, (teacher, student) = aligned(teachers, students)
    return queries, teacher, student


def _most(sizes: Sequence[int]) -> int:
    """Return the most points of a figure, so that all figures together have at most ``POINTS``."""
    return max(sizes, default=0) if sum(sizes) <= POINTS else max(POINTS // len(sizes), 50)


def _figures(found: Mapping[str, Pair], metric: str, most: int) -> UIElement:
    plots = []
    columns = min(len(found), 3)
    size = 420 if columns < 3 else WIDTH // 3 - 10
    for name, (queries, teacher, student) in found.items():
        above, below = int((student > teacher + 1e-9).sum()), int((student < teacher - 1e-9).sum())
        counts = f"{above:,} above, {below:,} below, {len(queries) - above - below:,} equal"
        title = "\n".join([*textwrap.wrap(name, size // 9), counts])
        plot = panel(
            title, f"teacher's {metric_name(metric)}", f"student's {metric_name(metric)}", width=size, height=size - 20
        )
        plot.x_range.update(start=-0.03, end=1.03)
        plot.y_range.update(start=-0.03, end=1.03)
        plot.title.text_font_size = "12px"
        plot.line([0, 1], [0, 1], color=GREY, line_dash="dashed")
        chosen = np.sort(np.random.default_rng(1).permutation(len(queries))[:most])
        data = {
            "query": [queries[place] for place in chosen],
            "teacher": teacher[chosen].astype(np.float32),
            "student": student[chosen].astype(np.float32),
        }
        points = plot.scatter(
            "teacher", "student", source=ColumnDataSource(data), size=6, color=PALETTE[0], alpha=0.35, line_color=None
        )
        tips = [("query", "@query"), ("teacher", "@teacher{0.0000}"), ("student", "@student{0.0000}")]
        plot.add_tools(HoverTool(renderers=[points], tooltips=tips))
        plots.append(plot)
    return grid(plots, columns)
