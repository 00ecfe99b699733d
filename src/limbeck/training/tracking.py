"""Loggers of metrics: a CSV file or none; ``limbeck.training.wandb_run`` has Weights & Biases."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger

from limbeck.rankings import Row
from limbeck.registry import register

Figures = Callable[[], Sequence[Path]]
"""Draws the figures of a finished run and returns their paths; called by trackers that show figures."""


def rows_of_sets(sets: Mapping[str, Any]) -> list[Row]:
    """Return the result rows of all evaluation sets of a ``result.json``, each with its set's name as ``set``."""
    return [{"set": name, **row} for name, found in sets.items() for row in found.get("rows", ())]


def summary(rows: Sequence[Row], split: str) -> dict[str, float]:
    """Return short name → value of a results table: ``test/ndcg@10`` (student), ``first_stage/ndcg@10`` (others).

    Parameters
    ----------
    rows
        One row per system; rows of further evaluation sets have ``set``.
    split
        Split on which the student was evaluated.
    """
    found: dict[str, float] = {}
    for row in rows:
        group, key = row.get("set"), str(row.get("key", row["system"]))
        system = "" if key == "student" else key
        place = "/".join(filter(None, (group or ("" if system else split), system)))
        found |= {f"{place}/{name}": value for name, value in row.items() if isinstance(value, float)}
    return found


class Tracker(Protocol):
    """Logs one run to an experiment tracker."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Open the tracker's run and return Lightning's loggers."""
        ...

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Record the results table and figures, and close the tracker's run; called after failures too."""
        ...


@register("logger", "csv")
class CSV:
    """Metrics in ``metrics/version_N/metrics.csv`` in the run folder; a resumed run starts version N + 1."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Return the logger."""
        del name, run_id, config, verb  # config.yaml and env.json have them
        return [CSVLogger(folder, name="metrics")]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Do nothing: result.json has the results table."""


@register("logger", "none")
class Nothing:
    """No logger: metrics are only in train.log and result.json."""

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Return no logger."""
        return []

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Do nothing."""
