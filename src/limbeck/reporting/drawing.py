"""Helpers of all figures: size of print, axes without frames, reproducible files.

Figures are drawn at their size in a paper: a single panel as wide as a column (``COLUMN``), rows of three as a page
(``PAGE``), with letters of at least 7 points. Each is written as a PNG with a title and as a PDF without one, as papers
have captions.
"""

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from limbeck.unfinished import whole_file

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8f94")
"""Colours distinct for the colour-blind (Okabe and Ito, with grey for their yellow, which is too pale on white)."""

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
COLUMN, PAGE = 3.3, 6.9
"""Widths in inches of a column and of a page, in a paper of two columns."""
COLUMNS = 3
"""Panels per row in a grid."""
SMALL = 15.0
"""Letters per inch that fit in a legend, a heading or a label."""
_BOLD = 13.8
"""Letters per inch that fit in a title."""
DPI = 150
"""Resolution of a PNG in dots per inch."""

STYLE: Any = {
    "font.size": 8.0, "axes.titlesize": 7.0, "axes.labelsize": 7.5, "axes.titlepad": 5.0, "axes.linewidth": 0.6,
    "xtick.labelsize": 7.0, "ytick.labelsize": 7.0, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5, "legend.fontsize": 7.0, "lines.markersize": 4.5,
    "lines.linewidth": 1.3, "pdf.fonttype": 42,  # TrueType, as publishers require
    "figure.autolayout": False, "figure.constrained_layout.use": False,  # whatever the user's matplotlibrc says
}  # fmt: skip
"""Matplotlib's settings for all figures."""

styled = matplotlib.rc_context(STYLE)
"""Decorator of functions that draw or save a figure; saving needs it, too, as letter sizes are looked up only then."""


def padded() -> ConstrainedLayoutEngine:
    """Return the layout of all figures, in which nothing overlaps or touches the border."""
    return ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.06, hspace=0.06, wspace=0.02)


def look(number: int) -> tuple[str, str]:
    """Return the colour and the marker of the n-th item; combinations repeat after 64."""
    return PALETTE[number % len(PALETTE)], _MARKERS[(number + number // len(PALETTE)) % len(_MARKERS)]


def canvas(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (COLUMN, 2.1), share: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure that pyplot does not manage, and its axes row by row.

    Parameters
    ----------
    rows, columns
        Size of the grid of axes.
    size
        Width and height in inches.
    share
        Whether all axes have the same scales; then only the outer ones have tick labels.
    """
    figure = Figure(figsize=size, dpi=DPI, layout=padded())
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=share, sharey=share)).ravel().tolist()
    for each in axes:
        plain(each)
    return figure, axes


def grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` axes of the same scales, ``COLUMNS`` per row; a single one is as wide as a column.

    Parameters
    ----------
    count
        Number of axes.
    height
        Height of one of them in inches; a single one is drawn larger.
    """
    columns = min(count, COLUMNS)
    rows = ceil(count / columns)
    width = COLUMN if count == 1 else columns * PAGE / COLUMNS
    whole = (width, rows * height * (1.2 if count == 1 else 1.0) + 0.6)
    figure, axes = canvas(rows, columns, size=whole, share=True)
    for spare in axes[count:]:
        spare.set_visible(False)
    for each in axes[:count]:
        each.tick_params(labelbottom=True)  # on all axes: those above an empty cell would have no labels
    return figure, axes[:count]


def plain(axes: Axes, grid: str = "y") -> None:
    """Remove the frame, and draw a faint grid behind the data.

    Parameters
    ----------
    axes
        The axes to change.
    grid
        ``x``, ``y`` or ``both``: the axis whose ticks get lines.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e8ea", linewidth=0.6)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)


def limits(means: Sequence[float], half_widths: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis that contains 0, all means, and all intervals except those far wider than the rest.

    Parameters
    ----------
    means
        Centres of the intervals.
    half_widths
        Half of each interval's width; NaN for no interval. An interval is cut off where its half width exceeds both
        eight times the lower quartile and half of the range of the means: two queries may have an interval of ±12
        standard deviations.
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
    """Draw a legend below the axes, with the look of each name's number; return its number of lines.

    Parameters
    ----------
    figure
        The figure.
    names
        Names of the items drawn, in order.
    """
    inches = figure.get_figwidth()
    columns = max(1, min(len(names), int(inches * SMALL / (max(map(len, names)) + 8))))
    texts = [wrapped(name, int(inches * SMALL) - 8) for name in names]
    handles = [
        Line2D([], [], linestyle="", marker=look(i)[1], color=look(i)[0], label=text) for i, text in enumerate(texts)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False)
    return ceil(sum(text.count("\n") + 1 for text in texts) / columns)


def save(figure: Figure, path: Path, title: str) -> None:
    """Write a PNG with a title and a PDF without; equal figures give identical bytes.

    The figure is laid out once; the PDF is what lies below the title.

    Parameters
    ----------
    figure
        The figure.
    path
        Path of the PNG, ``NAME.png``; the PDF is ``NAME.pdf``.
    title
        Title above the PNG's figure, wrapped to its width.
    """
    lines = wrapped(title, int(figure.get_figwidth() * _BOLD))
    above = figure.suptitle(lines, x=0.015, ha="left", fontweight="bold", fontsize=8.0)
    engine = figure.get_layout_engine()
    assert engine is not None
    for _ in range(1 + any(axes.get_aspect() != "auto" for axes in figure.axes)):
        engine.execute(figure)  # the first layout ignores square axes, and headings would touch labels
    figure.set_layout_engine(None)  # with an engine, ``savefig`` would lay out and draw both once more
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=DPI, format="png", metadata={"Software": None})
    width, height = figure.get_size_inches()
    height -= above.get_window_extent().height / figure.dpi + 2 * engine.get()["h_pad"]
    above.set_visible(False)
    undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with whole_file(path.with_suffix(".pdf")) as unfinished:
        figure.savefig(unfinished, format="pdf", bbox_inches=Bbox.from_extents(0, 0, width, height), metadata=undated)
    above.set_visible(True)
    figure.set_layout_engine(engine)


def wrapped(text: str, width: int) -> str:
    """Wrap a name into lines, inside words if need be; ``$`` in it does not start a formula.

    Parameters
    ----------
    text
        A name that a user chose.
    width
        Characters per line.
    """
    return "\n".join(textwrap.wrap(text, width)).replace("$", r"\$")
