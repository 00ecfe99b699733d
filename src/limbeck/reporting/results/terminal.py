"""A table on the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from limbeck.reporting.results.cells import Cell, Table
from limbeck.reporting.results.regret import rows
from limbeck.reporting.results.wording import MISSING, NONE, NOT_OURS, UNTOLD, column_head, figure, heads, sentences
from limbeck.screen import console


def show(table: Table) -> None:
    """Print a table, its caption, and the commands of its rows."""
    grid = Grid(title=escape(table.spec.caption), box=box.SIMPLE_HEAD, title_justify="left")
    for name in heads(table):
        grid.add_column(escape(name), overflow="fold")
    for column in table.columns:
        grid.add_column(escape(column_head(table, column)), justify="right")
    blank = [""] * (len(table.spec.rows) - 1)
    for row in table.rows:
        grid.add_row(*map(escape, row.labels), *(_cell(cell, table) for cell in row.cells))
    grid.add_section()
    for each in table.references:
        grid.add_row(escape(each.label), *blank, *(_cell(cell, table, reference=True) for cell in each.cells))
    grid.add_section()
    for each, values in table.published():
        shown = [NONE if value is None else f"{value:.{table.spec.digits}f}" for value in values]
        label = f"[dim]{escape(each.system)} ({NOT_OURS}: {escape(each.source)})[/dim]"
        grid.add_row(label, *blank, *(f"[dim]{each}[/dim]" for each in shown))
    screen = console()
    screen.print(grid)
    for sentence in sentences(table)[1:]:
        screen.print(escape(sentence), highlight=False)
    screen.print()
    if table.regrets:
        head, *found = rows(table)
        regrets = Grid(title="Regret: (best - it) / best", box=box.SIMPLE_HEAD, title_justify="left")
        for name in head:
            regrets.add_column(escape(name), overflow="fold")
        for each in found:
            regrets.add_row(*map(escape, each))
        screen.print(regrets)
    for note in table.notes:
        screen.print(escape(note), highlight=False)
    screen.print("\nThe commands of each row:", highlight=False)
    for row in table.rows:
        _show_commands(screen, " | ".join(row.labels), row.commands, row.untold)


def _cell(cell: Cell | None, table: Table, *, reference: bool = False) -> str:
    if cell is None:
        return NONE if reference else f"[italic]{MISSING}[/italic]"
    each = figure(cell, table, reference=reference)
    written = f"[bold]{each.mean}[/bold]" if each.best else each.mean
    written += f" ± {each.std}" if each.std else ""
    written += each.mark
    return f"{written} ({each.seeds})" if each.seeds else written


def _show_commands(screen: Console, label: str, commands: list[str], untold: int) -> None:
    screen.print(escape(label), highlight=False)
    for command in commands:
        # Not wrapped, so that it can be copied.
        screen.print(f"  {escape(command)}", highlight=False, soft_wrap=True)
    if untold:
        screen.print(f"  {escape(UNTOLD.format(count=untold))}", highlight=False)
    elif not commands:
        screen.print(f"  {MISSING}", highlight=False)
