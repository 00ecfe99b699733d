"""Where metrics go: a CSV file, nowhere, or Weights & Biases (``limbeck.training.wandb_run``)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger

from limbeck.rankings import Row
from limbeck.registry import register

Figures = Callable[[], Sequence[Path]]
"""Draws what there is to draw of a finished run; called by a tracker that shows it."""


class Tracker(Protocol):
    """One run's view from outside."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Open the run and return Lightning's loggers."""
        ...

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Record the final table and what was drawn, and close the run; always called."""
        ...


@register("logger", "csv")
class CSV:
    """``metrics/version_N/metrics.csv`` in the run folder; a resumed run begins version N + 1."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Return the logger."""
        del name, run_id, config  # they stand in config.yaml
        return [CSVLogger(folder, name="metrics")]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Nothing to close: the final table is in result.json."""


@register("logger", "none")
class Nothing:
    """No metrics beyond train.log and result.json."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Return no logger."""
        return []

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Nothing to close."""
