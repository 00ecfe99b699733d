"""Where metrics go: a CSV file, nowhere, or Weights & Biases (``limbeck.training.wandb_run``)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger

from limbeck.rankings import Row
from limbeck.registry import register

Figures = Callable[[], Sequence[Path]]
"""Draws what there is to draw of a finished run; called by a tracker that shows it."""


def rows_of_sets(sets: Mapping[str, Any]) -> list[Row]:
    """Return the rows of the sets in a ``result.json``, each with its ``set``; a set without results has none."""
    return [{"set": name, **row} for name, found in sets.items() for row in found.get("rows", ())]


def summary(rows: Sequence[Row], split: str) -> dict[str, float]:
    """Return short names for the values of a table: ``test/ndcg@10`` of the student, ``first_stage/ndcg@10`` of others.

    Parameters
    ----------
    rows
        One a system; those of another set than the run's own name it by ``set``.
    split
        What the student was evaluated on.
    """
    found: dict[str, float] = {}
    for row in rows:
        group, key = row.get("set"), str(row.get("key", row["system"]))
        system = "" if key == "student" else key
        place = "/".join(filter(None, (group or ("" if system else split), system)))
        found |= {f"{place}/{name}": value for name, value in row.items() if isinstance(value, float)}
    return found


class Tracker(Protocol):
    """One run's view from outside."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Open the run of a verb and return Lightning's loggers."""
        ...

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Record the final table and what was drawn, and close the run; always called."""
        ...


@register("logger", "csv")
class CSV:
    """``metrics/version_N/metrics.csv`` in the run folder; a resumed run begins version N + 1."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Return the logger."""
        del name, run_id, config, verb  # they stand in config.yaml
        return [CSVLogger(folder, name="metrics")]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Nothing to close: the final table is in result.json."""


@register("logger", "none")
class Nothing:
    """No metrics beyond train.log and result.json."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Return no logger."""
        return []

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Nothing to close."""
