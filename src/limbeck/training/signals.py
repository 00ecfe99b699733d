"""Signals that ask a training to end: it saves what it has after the update in hand, and ends."""

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
"""Ctrl-C, what ends processes, and the two that SLURM is usually configured to send before time is up."""


class Interrupted(SystemExit):
    """A training that a signal has ended, with its state saved; the exit status is 128 + the signal's number."""


class SaveOnSignal(Callback):
    """Saves ``last.ckpt`` at the end of the update in which a signal comes, and ends the training.

    Where a validation is due at that update, it runs, and the next update is the last. A handler that somebody has
    installed before the training (submitit's, which queues a job again) is called once the state is saved; if it
    returns, the training goes on. Processes of one training agree every ``every`` updates whether one of them received
    a signal to end: a GPU is waited for then. A second Ctrl-C ends at once.

    Parameters
    ----------
    last
        The checkpoint to save.
    every
        Updates between two agreements of several processes; one alone obeys at once.
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
        """Take the signals over, from Lightning too: it would end without saving, with the exit status of success."""
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
        """Save and end, if a signal has come."""
        if between(trainer, batch_idx):
            self._updates += 1
            if trainer.world_size == 1 or self._updates % self._every == 0:
                self._obey(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and end, if a signal has come since; give the signals back."""
        self._obey(trainer)
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
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
            "%s: the state after step %d is saved in %s; the same command goes on from it",
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
