"""Signals that end training: save a checkpoint after the current update, then exit."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from limbeck.training.checkpoints import between

log = logging.getLogger(__name__)

_CAUGHT = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
"""Ctrl-C, termination, and the two signals that SLURM usually sends before the time limit."""


class Interrupted(SystemExit):
    """Ends training after a signal, with a saved checkpoint; the exit status is 128 + the signal's number."""


class SaveOnSignal(Callback):
    """Saves ``last.ckpt`` at the end of the update during which a signal arrives, and ends training.

    If a validation is due at that update, training ends after the next update instead. A signal handler that was
    installed before (submitit's, which requeues the job) is called after the save; if it returns, training continues.
    With several processes, every ``every`` updates they exchange whether one has received a signal, which synchronises
    with the GPU. A second Ctrl-C ends training at once, without saving.

    Parameters
    ----------
    last
        Path of the checkpoint to save.
    every
        Updates between two exchanges of several processes; a single process reacts after each update.
    """

    def __init__(self, last: Path, every: int) -> None:
        self._last = last
        self._every = every
        self._updates = 0
        numbers = [signal.Signals[name] for name in _CAUGHT if hasattr(signal, name)]
        self._outside: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in numbers}
        self._replaced: dict[signal.Signals, Any] = {}
        self._caught = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers, replacing Lightning's, which would exit with status 0 and without saving."""
        if threading.current_thread() is threading.main_thread():
            self._replaced = {number: signal.signal(number, self._note) for number in self._outside}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._caught and number == signal.SIGINT:
            self._give_back()
            raise Interrupted(128 + number)
        self._caught = self._caught or number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end training if a signal has arrived."""
        if between(trainer, batch_idx):
            self._updates += 1
            if trainer.world_size == 1 or self._updates % self._every == 0:
                self._obey(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and end if a signal has arrived; restore the previous handlers."""
        self._obey(trainer)
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the previous handlers."""
        self._give_back()

    def _obey(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            caught = torch.tensor(self._caught, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(caught, torch.distributed.ReduceOp.MAX)
            self._caught = int(caught)
        if not self._caught:
            return
        number = signal.Signals(self._caught)
        trainer.save_checkpoint(self._last)
        log.warning(
            "%s: the state after step %d is saved in %s; run the same command again to resume",
            number.name,
            trainer.global_step,
            self._last,
        )
        outside = self._outside[number]
        if not callable(outside) or outside is signal.default_int_handler:
            self._give_back()
            raise Interrupted(128 + number)
        outside(number, None)
        self._caught = 0

    def _give_back(self) -> None:
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        self._replaced = {}
