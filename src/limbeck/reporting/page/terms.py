"""The figure of the weights of CKL's terms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, UIElement

from limbeck import rankings
from limbeck.config import ConfigError
from limbeck.evaluation.runs import read_run
from limbeck.rankings import Qrels
from limbeck.reporting.page.pieces import GREY, Section, grid, legend, look, panel, sentence, stack, tabs
from limbeck.reporting.page.runs import Sweep, TrainingRun, labels
from limbeck.reporting.page.weights import QUERIES, Bin, Setting, Weighed, setting, weigh
from limbeck.reporting.results.finished import Place

_FLOOR = 1e-9
"""Lower end of the axis of the negatives' weights."""

Judgments = Callable[[Place], Qrels]
"""Opens the judgments of a set; raises ``ConfigError`` if they cannot be opened."""


@dataclass
class _Reader:
    """Reads TREC files; files with the same bytes (the teacher of sixty runs) only once."""

    known: dict[bytes, rankings.Run] = field(default_factory=dict)

    def __call__(self, path: Path) -> rankings.Run:
        content = path.read_bytes()
        if content not in self.known:
            self.known[content] = read_run(path)
        return self.known[content]


def term_weights(sweep: Sweep, judgments: Judgments) -> Section:
    """Return the weights of positives and negatives by the student's rank, one tab per collection."""
    intro = (
        "<p>As Figure 1 of the CKL paper: the mean weight of a document’s term in the loss, by the rank that the "
        "trained student gives the document: (1−q)<sup>γ</sup> for positives, left, and q<sup>γ−β</sup> for "
        "negatives, right, with β = α(1/π(d) − 1/π(d<sup>+</sup>)). Plain KL has the weight 1 everywhere (dashed "
        "grey). A list has the documents that are in both the student’s and the teacher’s run file of a test query, "
        "so it is longer than a training list; q is the student’s softmax over it, π the rank in the first stage’s "
        "run file (a document missing there ranks after its last one). "
        f"Each configuration is drawn for its first seed and at most {QUERIES:,} queries. The weights are those of "
        "the finished student on test queries, not those during training; schedules of γ and α are ignored. A run "
        "without a CKL term is drawn dashed, with the weights of γ = 5 and α = 1. Ranks from 6 on are grouped "
        "(6–7, 8–10, 11–15, 16–25, 26–50, 51–100, …); weights below 10<sup>−9</sup> are drawn at that value.</p>"
    )
    section = Section("weights", "Weights of the terms", intro)
    sentences: list[str] = []
    parts: dict[str, UIElement] = {}
    read = _Reader()
    for group, configurations in sweep.own().items():
        found: dict[str, tuple[Setting, Weighed]] = {}
        short = labels(run for runs in configurations.values() for run in runs)
        for name, runs in configurations.items():
            try:
                found[name] = _weighed(runs[0], read, judgments)
            except _MissingError as missing:
                sentences.append(f"{escape(group)}, {escape(short[name])}: {escape(str(missing))}.")
        if found:
            parts[group] = _figures(found, short)
            sentences.append(_facts(group, found, short))
    section.models = tabs(parts)
    section.html = "".join(map(sentence, sentences))
    return section


class _MissingError(Exception):
    """The reason why a run is not drawn."""


def _weighed(run: TrainingRun, read: _Reader, judgments: Judgments) -> tuple[Setting, Weighed]:
    place = run.places[run.own]
    student, teacher, first_stage = (
        place.run.with_name(f"{place.split}.{key}.trec") for key in ("student", "teacher", "first_stage")
    )
    for path in (student, teacher, first_stage):
        if not path.is_file():
            raise _MissingError(f"there is no run file {path.name} in {path.parent}")
    try:
        qrels = judgments(place)
    except ConfigError as error:
        raise _MissingError(
            f"the judgments cannot be opened, so positives and negatives are not separated: {error}"
        ) from None
    chosen = setting(run.finished.config)
    relevant = (run.finished.config.get("pool") or {}).get("relevant", 1)
    try:
        # The student's run is not cached: no other run has it.
        weighed = weigh(read_run(student), read(teacher), read(first_stage), qrels, relevant, chosen)
    except ValueError as error:
        raise _MissingError(str(error)) from None
    if not weighed.lists:
        raise _MissingError("no query has a positive and a negative that are in both rankings")
    return chosen, weighed


def _name(short: str, chosen: Setting) -> str:
    by = ", π by the student" if chosen.by_student else ""
    parameters = f"γ={chosen.gamma:g}, α={chosen.alpha:g}{by}"
    return f"{short} ({parameters})" if chosen.own else f"{short} (no CKL term; {parameters})"


def _facts(group: str, found: Mapping[str, tuple[Setting, Weighed]], short: Mapping[str, str]) -> str:
    each = "; ".join(
        f"{escape(short[name])} {weighed.lists:,} × {weighed.documents:.0f}" for name, (_, weighed) in found.items()
    )
    return f"{escape(group)}: lists × mean documents per list: {each}."


def _figures(found: Mapping[str, tuple[Setting, Weighed]], short: Mapping[str, str]) -> UIElement:
    drawn: dict[str, list[Any]] = {_name(short[name], chosen): [] for name, (chosen, _) in found.items()}
    left = panel("positives: (1−q)^γ", "rank by the student", "mean weight", x_axis_type="log", height=340)
    right = panel(
        "negatives: q^(γ−β)", "rank by the student", "mean weight", x_axis_type="log", y_axis_type="log", height=340
    )
    right.y_range.update(start=_FLOOR / 2, end=3)
    left.y_range.update(start=-0.03, end=1.08)
    deepest = max(
        one.high for _, weighed in found.values() for side in (weighed.positives, weighed.negatives) for one in side
    )
    for plot, side in ((left, "positives"), (right, "negatives")):
        plot.line([1, deepest], [1, 1], color=GREY, line_dash="dashed", line_width=1.5)
        plot.xaxis.ticker = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
        points = []
        for number, (name, (chosen, weighed)) in enumerate(found.items()):
            bins: list[Bin] = getattr(weighed, side)
            if not bins:
                continue
            label = _name(short[name], chosen)
            source = ColumnDataSource(_data(bins, label))
            colour, _ = look(number)
            dash = "solid" if chosen.own else "dashed"
            line = plot.line("rank", "drawn", source=source, color=colour, line_width=2, line_dash=dash)
            scatter = plot.scatter("rank", "drawn", source=source, color=colour, size=5)
            drawn[label] += [line, scatter]
            points.append(scatter)
        tips = [
            ("", "@label"), ("rank", "@span"), ("documents", "@documents"), ("mean weight", "@mean"),
            ("median", "@median"), ("mean q", "@q"),
        ]  # fmt: skip
        plot.add_tools(HoverTool(renderers=points, tooltips=tips))
    return stack(legend({name: each for name, each in drawn.items() if each}), grid([left, right]))


def _data(bins: list[Bin], label: str) -> Any:
    return {
        "rank": [one.rank for one in bins],
        "drawn": [max(one.mean, _FLOOR) for one in bins],
        "label": [label] * len(bins),
        "span": [f"{one.low}" if one.low == one.high else f"{one.low}–{one.high}" for one in bins],
        "documents": [one.documents for one in bins],
        "mean": [f"{one.mean:.3g}" for one in bins],
        "median": [f"{one.median:.3g}" for one in bins],
        "q": [f"{one.q:.3g}" for one in bins],
    }
