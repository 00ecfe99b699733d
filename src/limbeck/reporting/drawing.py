"""What all pictures share: axes without frames, a title on the left, files that are the same for the same numbers."""

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from limbeck.unfinished import whole_file

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8f94")
"""Distinct for the colour-blind (Okabe and Ito, with grey for their yellow, which is too pale on white)."""

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
COLUMNS = 3
"""Of small multiples."""
_BOLD, _SMALL = 10.5, 12.5
"""Letters of a title and of a legend on an inch, at least."""


def padded() -> ConstrainedLayoutEngine:
    """Return the layout of all figures: nothing overlaps or touches the border."""
    return ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)


def look(number: int) -> tuple[str, str]:
    """Return the colour and the marker of the n-th of several things; they repeat together after 64."""
    return PALETTE[number % len(PALETTE)], _MARKERS[(number + number // len(PALETTE)) % len(_MARKERS)]


def canvas(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (7.2, 3.8), share: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure that pyplot does not know of, and its axes row by row.

    Parameters
    ----------
    rows, columns
        Of the grid of axes.
    size
        Width and height in inches.
    share
        Whether all axes have the same scales; then only the outer ones have labels at their ticks.
    """
    figure = Figure(figsize=size, layout=padded())
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=share, sharey=share)).ravel().tolist()
    for each in axes:
        plain(each)
    return figure, axes


def grid(count: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many axes of the same scales, ``COLUMNS`` in a row.

    Parameters
    ----------
    count
        Of axes.
    size
        Width and height of one in inches; one alone is drawn larger.
    """
    columns = min(count, COLUMNS)
    rows = ceil(count / columns)
    scale = 1.6 if count == 1 else 1.0
    whole = (max(columns * size[0] * scale, 5.6), rows * size[1] * scale + 0.9)
    figure, axes = canvas(rows, columns, size=whole, share=True)
    for spare in axes[count:]:
        spare.set_visible(False)
    for each in axes[:count]:
        each.tick_params(labelbottom=True, labelsize="small")  # on all: those above an empty cell would have none
    return figure, axes[:count]


def plain(axes: Axes, grid: str = "y") -> None:
    """Take the frame off, and put a faint grid behind.

    Parameters
    ----------
    axes
        To be changed.
    grid
        ``x``, ``y`` or ``both``: the axis whose ticks have lines.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e8ea", linewidth=0.8)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)


def limits(means: Sequence[float], half_widths: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds 0, all means and all intervals but those far wider than the rest.

    Parameters
    ----------
    means, half_widths
        Of the intervals; NaN for no interval. One is cut where its half exceeds both eight times the lower quartile
        and half of what the means span: two queries may have an interval of ±12 standard deviations.
    """
    known = [width for width in half_widths if np.isfinite(width)]
    span = max(0.0, *means) - min(0.0, *means)
    widest = max(8 * float(np.quantile(known, 0.25, method="lower")), span / 2) if known else 0.0
    widths = [min(width, widest) if np.isfinite(width) else 0.0 for width in half_widths]
    low = min(0.0, *(value - width for value, width in zip(means, widths, strict=True)))
    high = max(0.0, *(value + width for value, width in zip(means, widths, strict=True)))
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def legend(figure: Figure, names: Sequence[str]) -> int:
    """Put the names below the axes, with the look of their numbers; returns how many lines that takes.

    Parameters
    ----------
    figure, names
        What is drawn, and what the things in it are called.
    """
    inches = figure.get_figwidth()
    columns = max(1, min(len(names), int(inches * _SMALL / (max(map(len, names)) + 8))))
    texts = [wrapped(name, int(inches * _SMALL) - 8) for name in names]
    handles = [
        Line2D([], [], linestyle="", marker=look(i)[1], color=look(i)[0], label=text) for i, text in enumerate(texts)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize="small")
    return ceil(sum(text.count("\n") + 1 for text in texts) / columns)


def save(figure: Figure, path: Path, title: str) -> None:
    """Set the title and write a PNG, with the same bytes for the same numbers.

    Parameters
    ----------
    figure, path, title
        What, where, and the line above it, broken if it is longer than the figure is wide.
    """
    lines = wrapped(title, int(figure.get_figwidth() * _BOLD))
    figure.suptitle(lines, x=0.015, ha="left", fontweight="bold", fontsize="medium")
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130, format="png", metadata={"Software": None})


def wrapped(text: str, width: int) -> str:
    """Break a name into lines, inside words if need be; a ``$`` in it does not start a formula.

    Parameters
    ----------
    text
        A name that somebody chose.
    width
        Characters a line.
    """
    return "\n".join(textwrap.wrap(text, width)).replace("$", r"\$")
