"""Figures of a report, one PNG and one PDF each."""

import math
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from limbeck import labels
from limbeck.data.pool import Pool
from limbeck.inspection.measures import CUTOFFS, Measures
from limbeck.inspection.seen import known, percent
from limbeck.reporting.drawing import COLUMN, PAGE, PALETTE, canvas, save, styled

_TEACHER, _FIRST_STAGE, _MARK, _GREY = PALETTE[0], PALETTE[4], PALETTE[1], PALETTE[7]
_LINES = ("-", ":", "-.")
_BUCKETS = ((1, 1), (2, 3), (4, 10), (11, 30), (31, 100), (101, math.inf))


@styled
def draw(folder: Path, pool: Pool, measures: Measures, figures: Mapping[str, Any]) -> dict[str, Path]:
    """Draw all figures for which there is data; return title → file.

    Parameters
    ----------
    folder
        Output folder.
    pool
        Pool with scores.
    measures
        Measures of its lists.
    figures
        Their summary.
    """
    written = {}
    for name, title, figure in (
        ("spread", "Spread of the teacher's scores in a list", _spread(measures)),
        ("entropy", "Entropy of the teacher's softmax over a list", _entropy(figures["entropy"])),
        ("positives", "Rank of the best positive", _positives(measures)),
        ("overlap", "What teacher and first stage share", _overlap(figures["agreement"]["overlap"])),
        ("missing", "Documents without a score", _missing(pool)),
    ):
        if figure is not None:
            written[title] = folder / f"{name}.png"
            save(figure, written[title], title)
    return written


def _spread(measures: Measures) -> Figure | None:
    kept = measures.scored >= 2
    if not kept.any():
        return None
    figure, (left, right) = canvas(columns=2, size=(PAGE, 2.2))
    std = measures.std[kept]
    median = float(np.median(std))
    left.hist(std, bins=min(40, 5 + len(std) // 10), color=_TEACHER)
    left.axvline(median, color=_MARK, linewidth=1.5)
    left.set_title(f"median {median:.3g}", color=_MARK, loc="right")
    left.set(xlabel="standard deviation of the scores", ylabel="queries")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    order = np.argsort(measures.maximum[kept], kind="stable")
    low, high = measures.minimum[kept][order], measures.maximum[kept][order]
    right.stairs(high, np.arange(len(order) + 1) + 0.5, baseline=low, fill=True, color=_TEACHER, alpha=0.6)
    right.set(xlabel="queries, by their highest score", ylabel="scores, lowest to highest")
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def _entropy(entropy: Mapping[str, Any] | None) -> Figure | None:
    if entropy is None:
        return None
    figure, (axes,) = canvas(size=(COLUMN, 2.9))
    curve = entropy["curve"]
    axes.fill_between(
        curve["temperature"], curve["lower_quartile"], curve["upper_quartile"],
        color=_TEACHER, alpha=0.2, linewidth=0, label="middle half of the queries",
    )  # fmt: skip
    axes.plot(curve["temperature"], curve["median"], color=_TEACHER, linewidth=2, label="median of the queries")
    by_temperature: dict[float, list[str]] = {}
    for name, at in entropy["configured"].items():
        by_temperature.setdefault(at["temperature"], []).append(name)
    for line, (temperature, names) in zip(cycle(_LINES), by_temperature.items(), strict=False):
        median = entropy["configured"][names[0]]["median_entropy"]
        label = f"configured ({', '.join(map(labels.loss, names))}): {temperature:g}, median {median:.2f}"
        axes.axvline(temperature, color=_MARK, linewidth=1.5, linestyle=line, label=label)
    proposed = entropy["proposed_temperature"]
    axes.axvline(proposed, color=_GREY, linewidth=1.5, linestyle="--", label=f"median 0.5: {proposed:g}")
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="teacher temperature", ylabel="entropy / ln L\n0 one-hot, 1 flat")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False)
    return figure


def _positives(measures: Measures) -> Figure | None:
    teacher, first_stage = known(measures.teacher_rank), known(measures.first_stage_rank)
    if not len(teacher):
        return None
    figure, (axes,) = canvas()
    longest = max(int(measures.scored.max()), 1)
    buckets = [bucket for bucket in _BUCKETS if bucket[0] <= longest]
    sides = [("teacher", teacher, _TEACHER), ("first stage", first_stage, _FIRST_STAGE)]
    sides = [side for side in sides if len(side[1])]
    width = 0.8 / len(sides)
    for i, (name, ranks, colour) in enumerate(sides):
        shares = [float(((ranks >= low) & (ranks <= high)).mean()) for low, high in buckets]
        places = np.arange(len(buckets)) + (i - (len(sides) - 1) / 2) * width
        bars = axes.bar(places, shares, width * 0.94, color=colour, label=f"{name} ({len(ranks):,} queries)")
        axes.bar_label(bars, [percent(share) if share else "" for share in shares], fontsize=6.5, padding=1)
    axes.set_xticks(range(len(buckets)), [_bucket(low, high) for low, high in buckets])
    axes.set(xlabel="rank of the best positive in the scored list", ylabel="share of queries", ylim=(0, 1.08))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(frameon=False)
    return figure


def _bucket(low: float, high: float) -> str:
    if low == high:
        return f"{low}"
    return f"{low}–{high}" if high < math.inf else f">{low - 1}"


def _overlap(overlap: Mapping[str, float | None]) -> Figure | None:
    known_at = {k: overlap[str(k)] for k in CUTOFFS if overlap[str(k)] is not None}
    if not known_at:
        return None
    figure, (axes,) = canvas()
    shares = [float(share or 0.0) for share in known_at.values()]
    bars = axes.bar(range(len(known_at)), shares, 0.6, color=_TEACHER)
    axes.bar_label(bars, [percent(share) for share in shares], fontsize=6.5, padding=1)
    axes.set_xticks(range(len(known_at)), [str(k) for k in known_at])
    axes.set(xlabel="k (lists of more than k documents)", ylabel="share of the top k in both", ylim=(0, 1.08))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure


def _missing(pool: Pool) -> Figure:
    assert pool.scores is not None
    lengths = np.diff(pool.offsets)
    share = np.add.reduceat(np.isnan(pool.scores).astype(np.float64), pool.offsets[:-1]) / lengths
    buckets = np.digitize(share, [0.0, 0.01, 0.1, 0.25, 0.5, 0.75], right=True)
    buckets[share == 1] = 7
    counts = np.bincount(buckets, minlength=8).tolist()
    names = ["0", "≤1", "≤10", "≤25", "≤50", "≤75", ">75", "100"]
    figure, (axes,) = canvas()
    bars = axes.bar(range(len(names)), counts, 0.7, color=_TEACHER)
    axes.bar_label(bars, [f"{count:,}" if count else "" for count in counts], fontsize=6.5, padding=1)
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="documents of a query without a score, %", ylabel="queries", ylim=(0, 1.12 * max(counts)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
