"""Progress bars, log lines and speed metrics during training."""

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar

from limbeck import progress
from limbeck.data.datamodule import TrainingData
from limbeck.training import utilisation
from limbeck.training.validations import Validated, append
from limbeck.types import Batch

log = logging.getLogger(__name__)


STARVED = 0.05
"""Share of the time spent waiting for data above which a hint is logged."""


def quiet() -> None:
    """Silence Lightning's banners, and its warnings about settings that are intended here."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for known in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists.*",
        ".*val_dataloader.*",
        ".*is smaller than the logging interval.*",  # limbeck.training.lengths warns, and names the key
        ".*LeafSpec.*",
        "Sparse CSR tensor support is in beta.*",
        ".*your dataloader is not resumable.*",  # it is resumable: see data.sampling.Order
    ):
        warnings.filterwarnings("ignore", known)


class Speed(Callback):
    """Logs queries per second over all processes, and the share of the time spent waiting for data.

    Every ``trainer.log_every`` updates it also logs tokens per second, the share of the GPU's peak FLOP/s (MFU) and the
    GPU utilisation by its driver. After each validation and at the end of training it writes a line to the log.

    The times leave out validation and the first batch (warm-up). Waiting is the time until the loader returns the next
    batch; it is measured on the CPU, without synchronising with the device.

    Parameters
    ----------
    queries_a_batch
        Queries per batch and process.
    data
        The training data, which measures the waiting time.
    """

    def __init__(self, queries_a_batch: int, data: TrainingData) -> None:
        self._size = queries_a_batch
        self._data = data
        self._batches = 0
        self._seconds = 0.0
        self._waited = 0.0
        self._tokens = 0
        self._flops = 0.0
        self.device = ""
        """Name of the device; empty before training starts."""
        self._peak: float | None = None
        self._since: tuple[float, float] | None = None

    @property
    def queries_per_second(self) -> float:
        """Mean queries per second of this process."""
        return self._batches * self._size / self._seconds if self._seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time that this process spent waiting for data, from 0 to 1."""
        return self._waited / self._seconds if self._seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Mean tokens per second of this process, without padding."""
        return self._tokens / self._seconds if self._seconds else 0.0

    @property
    def mfu(self) -> float | None:
        """FLOP/s of the layers as a share of the device's peak, from 0 to 1; None if the peak is not known."""
        return None if self._peak is None or not self._seconds else self._flops / self._seconds / self._peak

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the device."""
        root = trainer.strategy.root_device
        self.device = utilisation.device_name(root)
        self._peak = utilisation.peak(self.device, str(trainer.precision))
        for logger in trainer.loggers:
            logger.log_hyperparams({"device": self.device})

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clocks, after the start or a validation."""
        if self._since is None:
            self._since = self._clocks()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update times and counts, except for the first batch (warm-up), and log them."""
        now = self._clocks()
        if batch_idx and self._since is not None:
            self._seconds += now[0] - self._since[0]
            self._waited += now[1] - self._since[1]
            self._batches += 1
            self._count(pl_module, batch)
        self._since = now
        world = trainer.world_size
        for name, value in (("queries/s", self.queries_per_second * world), ("waiting", self.waiting)):
            # A CPU tensor: Lightning would copy a number to the device, which synchronises.
            pl_module.log(name, torch.tensor(value), prog_bar=True, batch_size=1)
        if (batch_idx + 1) % (trainer.accumulate_grad_batches * self._every(trainer)) == 0:
            more = {"tokens/s": self.tokens_per_second * world, "MFU": self.mfu}
            more["GPU busy"] = utilisation.busy(trainer.strategy.root_device)
            for name, value in more.items():
                if value is not None:
                    pl_module.log(name, torch.tensor(value), batch_size=1)

    def _every(self, trainer: Trainer) -> int:
        return trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]

    def _count(self, module: Any, batch: Any) -> None:
        """Add the tokens and FLOPs of a batch, from the collator's lengths, without synchronising with the device."""
        if not isinstance(batch, Batch):
            return
        lengths = utilisation.real_tokens(batch)
        self._tokens += sum(lengths)
        backbone = getattr(module.student, "backbone", None)
        self._flops += utilisation.flops(getattr(backbone, "config", None), lengths)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the speed, and a hint if the loader was too slow."""
        rate = f"{self.queries_per_second * trainer.world_size:.1f} queries/s"
        used = "" if self.mfu is None else f", {100 * self.mfu:.0f} % of the peak of {self.device}"
        log.info("trained: %s%s, %.1f %% of the time waiting for data", rate, used, 100 * self.waiting)
        if self.waiting > STARVED:
            log.info("the loader is slower than the student; more workers may help: raise sampler.workers")

    def _clocks(self) -> tuple[float, float]:
        return time.perf_counter(), self._data.waited

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clocks."""
        self._since = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics."""
        values = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.startswith("diagnostics/")  # those go only to the metrics file
        }
        listed = "  ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))
        log.info("step %d/%s  %s", trainer.global_step, trainer.max_steps, listed)


class Record(Callback):
    """Appends each validation to ``validations.jsonl`` at once, for processes that watch the run.

    Parameters
    ----------
    folder
        The run folder.
    name
        Name of the logged metric.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a line."""
        if trainer.is_global_zero:
            value = float(trainer.callback_metrics[self._name])
            append(self._folder, Validated(trainer.global_step, int(trainer.max_steps), value))


class Lines(Callback):
    """Logs step, loss, speed and remaining time at intervals, for output without progress bars.

    Parameters
    ----------
    every
        Seconds between two lines.
    """

    def __init__(self, every: float = progress.EVERY) -> None:
        self._every = every
        self._start = self._last = 0.0
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a resumed training starts at a step above 0."""
        self._start = self._last = progress.clock()
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log a line if the interval has passed."""
        now = progress.clock()
        done, left = trainer.global_step - self._first, int(trainer.max_steps) - trainer.global_step
        if now - self._last < self._every or not done or not left:
            return
        self._last = now
        loss, speed = (float(trainer.callback_metrics[name]) for name in ("train/loss", "queries/s"))
        remaining = progress.duration((now - self._start) / done * left)
        words = (trainer.global_step, trainer.max_steps, loss, speed, remaining)
        log.info("step %d/%d  loss %.4g  %.1f queries/s  about %s left", *words)


class Bar(RichProgressBar):
    """Progress bar in updates, with queries/s and the losses."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5, leave=False)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics shown after the bar."""
        metrics: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        metrics.pop("v_num", None)
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        del current_epoch  # the whole training is one sequence of batches
        return "training"
