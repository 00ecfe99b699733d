"""A table as plain data, for JSON next to a page that shows it."""

from typing import Any

from limbeck.reporting.results.cells import Cell, Table
from limbeck.reporting.results.wording import column_head, heads


def plain(table: Table) -> dict[str, Any]:
    """Return heads, rows, other systems, regrets and notes; a cell without a run is None."""
    return {
        "name": table.name,
        "caption": table.spec.caption,
        "heads": [*heads(table), *(column_head(table, column) for column in table.columns)],
        "digits": table.spec.digits,
        "seeds": table.seeds,
        "rows": [
            {"labels": list(row.labels), "cells": list(map(_cell, row.cells)), "commands": row.commands}
            for row in table.rows
        ],
        "beside": [{"label": each.label, "cells": list(map(_cell, each.cells))} for each in table.references],
        "regrets": [
            {"system": each.system, "mean": each.mean, "largest": each.largest, "interval": [each.low, each.high],
             "where": each.where, "settings": dict(each.settings)}
            for each in table.regrets
        ],
        "remarks": table.remarks,
        "notes": table.notes,
    }  # fmt: skip


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {"mean": cell.mean, "std": cell.std, "seeds": cell.seeds, "best": cell.best, "mark": cell.mark}
