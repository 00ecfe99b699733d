"""The words and figures of a table, shared by Markdown, LaTeX and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.reporting.results.cells import Cell, Column, Table

MISSING = "missing"
"""Shown where no finished run has a value."""

NONE = "–"
"""Shown where a system of others has no value, or a system was not evaluated."""

NOT_OURS = "Published by others, not our results"

UNTOLD = (
    "{count} of these runs do not record their command (their env.json has no overrides): "
    "run them again with this version to have their command here"
)


@dataclass(frozen=True)
class Figure:
    """A cell as text."""

    mean: str
    std: str
    """Empty for one seed."""
    seeds: str
    """``n=2 of 3`` where there are fewer seeds than there should be; else empty."""
    mark: str
    best: bool


def figure(cell: Cell, table: Table, *, reference: bool = False) -> Figure:
    """Return a cell as text; a reference shows no number of seeds."""
    digits = table.spec.digits
    few = not reference and cell.seeds < table.seeds
    return Figure(
        f"{cell.mean:.{digits}f}",
        "" if cell.std is None else f"{cell.std:.{digits}f}",
        f"n={cell.seeds} of {table.seeds}" if few else "",
        cell.mark,
        cell.best,
    )


def sentences(table: Table) -> list[str]:
    """Return the sentences of the caption: what is shown, the number of seeds, and the meaning of the marks."""
    cells = list(table.cells())
    few = [cell for cell in cells if cell is not None and cell.seeds < table.seeds]
    missing = cells.count(None)
    lines = [f"{table.spec.caption}."]
    if table.seeds > 1:
        lines.append(f"Mean ± standard deviation over {table.seeds} seeds.")
    else:
        lines.append("One seed, so no standard deviation.")
    if few:
        lines.append(f"{len(few)} of {len(cells)} cells have fewer seeds (n).")
    if missing:
        lines.append(f"{missing} of {len(cells)} cells have no finished run (missing).")
    lines.append("Bold: the highest mean of our students in a column.")
    lines += table.remarks
    if table.spec.published:
        lines.append(f"Below the last rule: {NOT_OURS[0].lower()}{NOT_OURS[1:]}.")
    return lines


def heads(table: Table) -> list[str]:
    """Return the headings of the row keys."""
    return [table.spec.title(key) for key in table.spec.rows]


def column_head(table: Table, column: Column) -> str:
    """Return set and metric as one heading."""
    return f"{table.spec.title(column.set)} {table.spec.title(column.metric)}"


def spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return each set with the number of its adjacent columns."""
    found: list[tuple[str, int]] = []
    for column in columns:
        if found and found[-1][0] == column.set:
            found[-1] = (column.set, found[-1][1] + 1)
        else:
            found.append((column.set, 1))
    return found
