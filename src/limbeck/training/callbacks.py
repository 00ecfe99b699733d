"""Callbacks that a configuration may add to a training, each through Lightning's own class.

All of them keep what they know in the checkpoint, so a training that goes on from one ends as if it had never
stopped. Callbacks for which that does not hold (``StochasticWeightAveraging`` begins its schedule anew) are not
offered.
"""

from typing import Any, Protocol

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    WeightAveraging,
)

from limbeck.config import ConfigError
from limbeck.registry import register
from limbeck.training.trainer import Training


class Watching(Protocol):
    """What a configuration asks for."""

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback.

        Parameters
        ----------
        training
            How it is trained.
        monitor
            Name of the value that is measured on the dev split, higher is better; None where nothing is.
        logs
            Whether there is a logger.

        Raises
        ------
        ConfigError
            It does not go together with the training.
        """
        ...


class _Stopping(EarlyStopping):
    """Also stops at once where a training goes on from the very state at which it was stopped."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if that was decided before the checkpoint was written; Lightning forgets it."""
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True


@register("callback", "early_stopping")
class Stopping:
    """Stop when the dev metric has not risen for some validations (Lightning's ``EarlyStopping``).

    Parameters
    ----------
    patience
        Validations without a rise after which it stops.
    min_delta
        A smaller rise than this is none.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(self, *, patience: int = 5, min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be >= 1, got {patience}")
        if min_delta < 0:
            raise ValueError(f"min_delta must be >= 0, got {min_delta}")
        self.patience = patience
        self.min_delta = min_delta

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback."""
        del logs
        if monitor is None or not training.validate_every:
            raise ConfigError(
                "callbacks.early_stopping: nothing is validated (trainer.validate_every=0, or no dev split), so "
                "there is nothing to stop by; leave it out"
            )
        return _Stopping(
            monitor, mode="max", patience=self.patience, min_delta=self.min_delta, check_on_train_epoch_end=False
        )


@register("callback", "learning_rate")
class LearningRates:
    """Log the learning rate of each group of parameters (Lightning's ``LearningRateMonitor``).

    ``train/learning_rate``, that of the first group, is logged without it.

    Parameters
    ----------
    weight_decay
        Log the weight decay, too.
    """

    def __init__(self, *, weight_decay: bool = False) -> None:
        self.weight_decay = weight_decay

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback."""
        del training, monitor
        if not logs:
            raise ConfigError("callbacks.learning_rate: logger=none logs nothing; choose a logger, or leave it out")
        return LearningRateMonitor(logging_interval="step", log_weight_decay=self.weight_decay)


@register("callback", "ema")
class Ema:
    r"""Validate and keep an exponential moving average of the weights (Lightning's ``EMAWeightAveraging``).

    ```math
    \bar\theta_t = d\,\bar\theta_{t-1} + (1 - d)\,\theta_t
    ```

    Parameters
    ----------
    decay
        d.
    start
        Updates before the first that counts.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(self, *, decay: float = 0.999, start: int = 0) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        _check_start(start)
        self.decay = decay
        self.start = start

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback."""
        del monitor, logs
        _check_averaging("ema", training)
        return EMAWeightAveraging(decay=self.decay, use_buffers=False, update_starting_at_step=self.start)


class _Mean(WeightAveraging):
    """The mean of the weights after every n-th update from one on."""

    def __init__(self, start: int, every: int) -> None:
        super().__init__(use_buffers=False)
        self._start, self._every = start, every

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the weights after an update count."""
        del epoch_idx
        return step_idx is not None and step_idx >= self._start and (step_idx - self._start) % self._every == 0


@register("callback", "weight_averaging")
class Averaging:
    """Validate and keep the mean of the weights after several updates (Lightning's ``WeightAveraging``).

    Parameters
    ----------
    start
        Updates before the first that counts.
    every
        Every which update counts.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(self, *, start: int = 0, every: int = 1) -> None:
        _check_start(start)
        if every < 1:
            raise ValueError(f"every must be >= 1, got {every}")
        self.start = start
        self.every = every

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback."""
        del monitor, logs
        _check_averaging("weight_averaging", training)
        return _Mean(self.start, self.every)


def _check_start(start: int) -> None:
    if start < 0:
        raise ValueError(f"start must be >= 0, got {start}")


def _check_averaging(name: str, training: Training) -> None:
    if training.compile:
        raise ConfigError(f"callbacks.{name} copies the student, which trainer.compile does not allow; choose one")
    if training.world > 1:
        raise ConfigError(
            f"callbacks.{name}: a training of several processes does not go on from averaged weights to the same bits; "
            "train with one (trainer.devices=1 trainer.num_nodes=1), or leave it out"
        )


def make(asked: dict[str, Any], training: Training, monitor: str | None, *, logs: bool) -> list[Callback]:
    """Return the callbacks that are asked for.

    Raises
    ------
    ConfigError
        One does not go together with the training, or two with one another.
    """
    both = [name for name in ("ema", "weight_averaging") if name in asked]
    if len(both) > 1:
        raise ConfigError("callbacks.ema and callbacks.weight_averaging both say what is kept; choose one")
    return [each.make(training, monitor, logs=logs) for each in asked.values()]
