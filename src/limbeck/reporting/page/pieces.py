"""Helpers of all sections: their structure, colours, plain figures, a legend for several figures, tabs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from bokeh.core.properties import value
from bokeh.layouts import column, gridplot
from bokeh.models import Legend, LegendItem, TabPanel, Tabs, UIElement
from bokeh.plotting import figure

from limbeck.reporting.drawing import PALETTE

WIDTH = 1100
"""Width of the page in pixels."""

_DASHES = ("solid", "dashed", "dotted", "dotdash")
_LETTER = 6.4
"""Average width of a letter in a legend, in pixels."""

GREY = "#8a8f94"


@dataclass
class Section:
    """A section of the page."""

    anchor: str
    title: str
    intro: str
    """HTML that explains the section."""
    models: list[UIElement] = field(default_factory=list)
    """Bokeh models, drawn one by one below the introduction."""
    html: str = ""
    """HTML below the models."""


def look(number: int) -> tuple[str, str]:
    """Return colour and dash of the n-th line; combinations repeat after 32."""
    return PALETTE[number % len(PALETTE)], _DASHES[number // len(PALETTE) % len(_DASHES)]


def panel(title: str, x: str, y: str, *, width: int = WIDTH // 2 - 10, height: int = 270, **options: Any) -> Any:
    """Return an empty figure with labelled axes."""
    plot: Any = figure(width=width, height=height, title=title, tools="pan,box_zoom,wheel_zoom,reset,save", **options)
    plot.toolbar.autohide = True
    plot.toolbar.active_scroll = None
    plot.xaxis.axis_label, plot.yaxis.axis_label = x, y
    plot.title.text_font_size = "13px"
    plot.axis.axis_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_style = "normal"
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e8ea"
    return plot


def legend(drawn: Mapping[str, Sequence[Any]]) -> Any:
    """Return a figure with only a legend; a click on a name hides its lines in all figures.

    Parameters
    ----------
    drawn
        Name → its renderers, in any figures; the first one gives colour and dash.
    """
    longest = max(map(len, drawn))
    columns = max(1, min(len(drawn), int(WIDTH / (longest * _LETTER + 50))))
    plot: Any = figure(width=WIDTH, height=28 * ceil(len(drawn) / columns) + 8, toolbar_location=None, min_border=0)
    plot.axis.visible = False
    plot.grid.visible = False
    plot.outline_line_color = None
    items = []
    for name, renderers in drawn.items():
        glyph: Any = renderers[0].glyph
        if hasattr(glyph, "line_dash") and not hasattr(glyph, "marker"):
            sample = plot.line([0], [0], color=glyph.line_color, line_dash=glyph.line_dash, line_width=2)
        else:
            sample = plot.scatter([0], [0], color=glyph.fill_color, size=8)
        items.append(LegendItem(label=value(name), renderers=[sample, *renderers]))
    legend = Legend(items=items, ncols=columns, click_policy="hide", location="top_left", border_line_color=None)
    legend.update(padding=0, margin=2, spacing=8, label_text_font_size="12px", glyph_height=14, background_fill_alpha=0)
    plot.add_layout(legend)
    plot.x_range.update(start=1, end=2)  # the range is empty: the legend draws its own samples
    return plot


def grid(plots: Sequence[Any], columns: int = 2) -> UIElement:
    """Return figures in rows, with one toolbar."""
    return gridplot(
        [list(plots[i : i + columns]) for i in range(0, len(plots), columns)],
        merge_tools=True,
        toolbar_location="right",
    )


def stack(*models: Any) -> UIElement:
    """Return models stacked vertically."""
    return column(*models)


def tabs(parts: Mapping[str, UIElement]) -> list[UIElement]:
    """Return one model with a tab for each part; a single part gets no tab."""
    if len(parts) < 2:
        return list(parts.values())
    return [Tabs(tabs=[TabPanel(child=child, title=title) for title, child in parts.items()])]


def sentence(text: str) -> str:
    """Return a paragraph about something missing; the text must be escaped."""
    return f'<p class="missing">{text}</p>'
