"""Optional training callbacks of a configuration; each wraps a callback of Lightning.

All of them save their state in checkpoints, so a resumed training gives the same result as an uninterrupted one.
Callbacks that do not (``StochasticWeightAveraging`` restarts its schedule) are not offered.
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
    """A callback's configuration, from which Lightning's callback is made."""

    def make(self, training: Training, monitor: str | None, *, logs: bool) -> Callback:
        """Return Lightning's callback.

        Parameters
        ----------
        training
            The trainer's configuration.
        monitor
            Name of the metric on the dev split, higher is better; None without validation.
        logs
            Whether there is a logger.

        Raises
        ------
        ConfigError
            The callback does not work with this training.
        """
        ...


class _Stopping(EarlyStopping):
    """Stops at once when training resumes from the checkpoint at which early stopping ended it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if the patience is used up already; Lightning checks it only after a validation."""
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True


@register("callback", "early_stopping")
class Stopping:
    """Stop when the dev metric has stopped improving (Lightning's ``EarlyStopping``).

    Parameters
    ----------
    patience
        Validations without improvement before training stops.
    min_delta
        Smallest increase of the metric that counts as an improvement.

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
    """Log the learning rate of each parameter group (Lightning's ``LearningRateMonitor``).

    The learning rate of the first group is always logged, as ``train/learning_rate``.

    Parameters
    ----------
    weight_decay
        Log the weight decay too.
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
    r"""Validate and save an exponential moving average of the weights (Lightning's ``EMAWeightAveraging``).

    ```math
    \bar\theta_t = d\,\bar\theta_{t-1} + (1 - d)\,\theta_t
    ```

    Parameters
    ----------
    decay
        d, 0 < d < 1.
    start
        Update at which averaging starts.

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
    """Mean of the weights after every n-th update from a start."""

    def __init__(self, start: int, every: int) -> None:
        super().__init__(use_buffers=False)
        self._start, self._every = start, every

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average includes the weights after this update."""
        del epoch_idx
        return step_idx is not None and step_idx >= self._start and (step_idx - self._start) % self._every == 0


@register("callback", "weight_averaging")
class Averaging:
    """Validate and save the mean of the weights over several updates (Lightning's ``WeightAveraging``).

    Parameters
    ----------
    start
        Update at which averaging starts.
    every
        Average the weights of every n-th update.

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
            f"callbacks.{name}: a training with several processes cannot resume exactly from averaged weights; train "
            "with one process (trainer.devices=1 trainer.num_nodes=1), or leave it out"
        )


def make(asked: dict[str, Any], training: Training, monitor: str | None, *, logs: bool) -> list[Callback]:
    """Return Lightning's callbacks for the configured ones.

    Raises
    ------
    ConfigError
        A callback does not work with this training, or two callbacks exclude each other.
    """
    both = [name for name in ("ema", "weight_averaging") if name in asked]
    if len(both) > 1:
        raise ConfigError("callbacks.ema and callbacks.weight_averaging both average the weights; choose one")
    return [each.make(training, monitor, logs=logs) for each in asked.values()]
