"""Print results as tables on the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from limbeck.rankings import Row
from limbeck.screen import console

_WORDS = ("system", "candidates", "queries", "ranked", "sets")


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return the metric columns of result rows, in order."""
    return [name for name in rows[0] if name not in (*_WORDS, "key")]


def is_of(row: Row, key: str) -> bool:
    """Return whether a row belongs to a system (``student``), at any stage (``student.rerank``)."""
    return row["key"].split(".")[0] == key


def show_result(result: Mapping[str, Any]) -> None:
    """Print the final table of a run: one line per system, the best value of each metric in bold."""
    rows = result["rows"]
    title = f"{result['collection']} {result['split']}, {rows[0]['queries']} queries"
    show_rows(rows, ["system", "candidates"], title)


def show_rows(rows: Sequence[Row], words: Sequence[str], title: str, *, bold: bool = True) -> None:
    """Print rows as a table.

    Parameters
    ----------
    rows
        Rows with the same columns; those in ``words`` are text, the others numbers (None is shown as missing).
    words
        Text columns, in order.
    title
        Line above the table.
    bold
        Print the highest value of each number column in bold.
    """
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left")
    for word in words:
        table.add_column(escape(word))
    numbers = [name for name in metrics_of(rows) if name not in words]
    best = {n: max((row[n] for row in rows if row.get(n) is not None), default=None) for n in numbers if bold}
    for number in numbers:
        table.add_column(number, justify="right")
    for row in rows:
        cells = [escape(str(row.get(word, ""))) for word in words]  # loss=[kl] must not be read as markup
        table.add_row(*cells, *(_cell(row.get(number), best.get(number)) for number in numbers))
    console().print(table)


def show_words(rows: Sequence[Row], title: str) -> None:
    """Print rows of text as a table; all have the same columns."""
    show_rows(rows, list(rows[0]), title)


def _cell(value: float | None, best: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    text = "<0.0001" if 0 < value < 0.00005 else f"{value:.4f}"  # a p-value is never 0
    return f"[bold]{text}[/bold]" if value == best else text
