"""What a user sees while a student trains."""

import logging
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar

from limbeck.training.validations import Validated, append

log = logging.getLogger(__name__)


class Speed(Callback):
    """Logs queries per second over all processes, validation time left out, and a line after each validation.

    Parameters
    ----------
    queries_a_batch
        Queries of a batch and process.
    """

    def __init__(self, queries_a_batch: int) -> None:
        self._size = queries_a_batch
        self._batches = 0
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def queries_per_second(self) -> float:
        """Mean over what this process has trained."""
        return self._batches * self._size / self._seconds if self._seconds else 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Go on with the clock."""
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the clock; the first batch, which warms up, is not counted."""
        now = time.perf_counter()
        if batch_idx and self._since is not None:
            self._seconds += now - self._since
            self._batches += 1
        self._since = now
        speed = self.queries_per_second * trainer.world_size
        pl_module.log("queries/s", speed, prog_bar=True, batch_size=1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._since = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a line to the log."""
        values = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.startswith("diagnostics/")  # those are for the metrics file
        }
        told = "  ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))
        log.info("step %d/%s  %s", trainer.global_step, trainer.max_steps, told)


class Record(Callback):
    """Adds each validation to ``validations.jsonl`` at once, for whoever watches the run.

    Parameters
    ----------
    folder
        The run folder.
    name
        Logged value.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a line."""
        if trainer.is_global_zero:
            value = float(trainer.callback_metrics[self._name])
            append(self._folder, Validated(trainer.global_step, int(trainer.max_steps), value))


class Bar(RichProgressBar):
    """Progress in updates, with queries/s and the losses by name."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5, leave=False)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands behind the bar."""
        metrics: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        metrics.pop("v_num", None)
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        del current_epoch  # the whole training is one sequence of batches
        return "training"
