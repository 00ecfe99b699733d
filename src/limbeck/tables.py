"""Results as tables on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
_WIDTH = 160
"""Characters a line in a log or file; a terminal knows its own width."""

_WORDS = ("system", "candidates", "queries")


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return the metric columns of result rows, in order."""
    return [name for name in rows[0] if name not in (*_WORDS, "key")]


def show_result(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the final table of a run: one line a system, the best value of each metric bold."""
    rows = result["rows"]
    title = f"{result['collection']} {result['split']}, {rows[0]['queries']} queries"
    _print(rows, ["system", "candidates"], title, console)


def show_sweep(rows: Sequence[Row], varied: Sequence[str], title: str, console: Console | None = None) -> None:
    """Print one line a run of a sweep; ``varied`` are the columns that tell the runs apart."""
    _print(rows, varied, title, console)


def _print(rows: Sequence[Row], words: Sequence[str], title: str, console: Console | None) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for word in words:
        table.add_column(word)
    metrics = [name for name in metrics_of(rows) if name not in words]
    best = {
        metric: max((row[metric] for row in rows if row.get(metric) is not None), default=None) for metric in metrics
    }
    for metric in metrics:
        table.add_column(metric, justify="right")
    for row in rows:
        cells = [str(row.get(word, "")) for word in words]
        table.add_row(*cells, *(_cell(row.get(metric), best[metric]) for metric in metrics))
    console = console or Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


def _cell(value: float | None, best: float | None) -> str:
    if value is None:
        return "–"
    text = f"{value:.4f}"
    return f"[bold]{text}[/bold]" if value == best else text
