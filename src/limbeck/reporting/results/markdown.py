"""A table as Markdown."""

from collections.abc import Sequence

from limbeck.markup import escape
from limbeck.reporting.results.cells import Cell, Table
from limbeck.reporting.results.regret import rows
from limbeck.reporting.results.wording import MISSING, NONE, NOT_OURS, UNTOLD, column_head, figure, heads, sentences


def markdown(table: Table) -> str:
    """Return a table, its caption, the runs it comes from, and the commands of its rows."""
    keys = heads(table)
    top = [*map(escape, keys), *(escape(column_head(table, column)) for column in table.columns)]
    lines = [f"# {escape(table.spec.caption)}", "", *_start(top, len(keys))]
    lines += [_line([*map(escape, row.labels), *(_cell(cell, table) for cell in row.cells)]) for row in table.rows]
    for each in table.references:
        label = [f"*{escape(each.label)}*", *[""] * (len(keys) - 1)]
        lines.append(_line([*label, *(_cell(cell, table, reference=True) for cell in each.cells)]))
    lines += ["", escape(" ".join(sentences(table)[1:]))]
    lines += _published(table, top[len(keys) :])
    if table.regrets:
        head, *found = rows(table)
        lines += ["", "## Regret: (best - it) / best", "", *_start(list(map(escape, head)), len(head))]
        lines += [_line(list(map(escape, each))) for each in found]
    if table.notes:
        lines += ["", "## Where this comes from", "", *(f"* {escape(note)}" for note in table.notes)]
    return "\n".join([*lines, *_commands(table), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _start(top: Sequence[str], words: int) -> list[str]:
    return [_line(top), f"|{'---|' * words}{'---:|' * (len(top) - words)}"]


def _cell(cell: Cell | None, table: Table, *, reference: bool = False) -> str:
    if cell is None:
        return NONE if reference else f"*{MISSING}*"
    each = figure(cell, table, reference=reference)
    written = f"**{each.mean}**" if each.best else each.mean
    written += f" ± {each.std}" if each.std else ""
    written += each.mark
    return f"{written} ({each.seeds})" if each.seeds else written


def _published(table: Table, metrics: Sequence[str]) -> list[str]:
    if not table.spec.published:
        return []
    lines = ["", "---", "", f"{NOT_OURS}:", "", *_start(["System", "Source", *metrics], 2)]
    for each, values in table.published():
        shown = [NONE if value is None else f"{value:.{table.spec.digits}f}" for value in values]
        lines.append(_line([escape(each.system), escape(each.source), *shown]))
    return lines


def _commands(table: Table) -> list[str]:
    lines = ["", "## The commands of each row"]
    for row in table.rows:
        lines += ["", escape(" | ".join(row.labels)), ""]
        if not row.line.runs:
            lines.append(f"*{MISSING}*: no run to take a command from.")
        if row.commands:
            # Four backticks delimit the block, as a command may contain three.
            lines += ["````sh", *row.commands, "````"]
        if row.untold:
            lines.append(escape(UNTOLD.format(count=row.untold)) + ".")
    return lines
