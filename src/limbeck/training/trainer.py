"""The Lightning trainer."""

import math
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from limbeck.config import ConfigError
from limbeck.inference import bf16_processor
from limbeck.launchers.devices import check_accelerator
from limbeck.progress import draws_bars
from limbeck.registry import register
from limbeck.training.alone import Alone
from limbeck.training.checkpoints import AtomicCheckpoints
from limbeck.training.guards import POLICIES
from limbeck.training.progress import Bar, Lines

_COPYING = ("spawn", "fork", "notebook")
_SHARDING = ("fsdp", "deepspeed", "model_parallel")
"""Prefixes of Lightning's strategies that shard the weights."""

_PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")

_MOST_STEPS, _MOST_EPOCHS = 2**40, 1_000_000
"""Upper limits, far beyond any training, so that numbers of batches fit into 64 bits."""


def _check_strategy(strategy: str) -> None:
    if strategy.startswith(_SHARDING):
        raise ValueError(
            f"strategy={strategy} shards the weights, but clipping, guards and saved students need all of them; "
            "choose ddp"
        )
    if any(word in strategy for word in _COPYING):
        raise ValueError(f"strategy={strategy} copies this process, but each must start separately; choose ddp")
    known = ["auto", *StrategyRegistry.available_strategies()]
    known = [name for name in known if not name.startswith(_SHARDING) and not any(word in name for word in _COPYING)]
    if strategy not in known:
        raise ValueError(f"strategy must be one of {', '.join(known)}, got {strategy!r}")


def _fastest(accelerator: str) -> str:
    """Return the device's fastest precision with the range of float32: ``bf16-mixed`` or ``32-true``."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        quick = accelerator in ("auto", "cpu") and not torch.backends.mps.is_available() and bf16_processor()
    return "bf16-mixed" if quick else "32-true"


@register("trainer", "trainer")
class Training:
    """Length, hardware, precision and intervals of training.

    Parameters
    ----------
    accelerator
        Lightning's accelerator: ``auto``, ``cpu``, ``gpu``, ….
    devices
        Number of devices per node. With a single device, variables of torchrun, SLURM and other launchers are ignored.
    num_nodes
        Number of nodes.
    strategy
        Lightning's strategy. Strategies that shard the weights (``fsdp``, ``deepspeed``) and strategies that spawn or
        fork processes (``ddp_spawn``) are errors.
    precision
        Lightning's precision. ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``, or ``auto``: ``bf16-mixed`` if
        the device is faster with it (GPUs since Ampere, CPUs with AVX512-BF16 or AMX), else ``32-true``. The log and
        the run's result record the choice. Losses are always computed in float32 or better.
    steps
        Number of updates; null uses ``epochs``.
    epochs
        Passes over the training queries. Used if ``steps`` is null.
    accumulate
        Batches per update.
    clip
        Maximum gradient norm; 0 does not clip.
    chunk
        Number of texts that are encoded at once. Saves memory with losses over the whole batch (``info_nce.in_batch``,
        ``flops``): each chunk is encoded twice, and the gradient is that of the whole batch (GradCache). null encodes
        the whole batch at once. For losses over single queries use ``accumulate`` instead.
    compile
        Compile the transformer with ``torch.compile``. It is compiled once for each bucket of lengths, to which texts
        are padded. That takes minutes at the start; measure whether it is worth it (on CPUs it was not).
    validate_every
        Updates between validations; 0 never validates.
    checkpoint_every
        Updates between checkpoints.
    log_every
        Updates between logged metrics.
    deterministic
        Use deterministic operations. Runs on a GPU then give the same bits; an operation without a deterministic
        version is an error, and some are slower.
    nonfinite
        Reaction to a NaN or infinite loss or gradient. ``stop`` ends training with an error that names step,
        term and queries; ``skip`` skips the update and counts it (``skipped`` in the run's result). Checked every
        ``log_every`` updates and before each checkpoint.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        accelerator: str = "auto",
        devices: int = 1,
        num_nodes: int = 1,
        strategy: str = "auto",
        precision: str = "auto",
        steps: int | None = None,
        epochs: float = 1.0,
        accumulate: int = 1,
        clip: float = 1.0,
        chunk: int | None = None,
        compile: bool = False,
        validate_every: int = 100,
        checkpoint_every: int = 100,
        log_every: int = 10,
        deterministic: bool = False,
        nonfinite: str = "stop",
    ) -> None:
        counts = {"devices": devices, "num_nodes": num_nodes, "accumulate": accumulate, "log_every": log_every}
        for name, value in {**counts, "checkpoint_every": checkpoint_every}.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        check_accelerator(accelerator)
        if steps is not None and not 1 <= steps <= _MOST_STEPS:
            raise ValueError(f"steps must be >= 1 and <= {_MOST_STEPS}, or null, got {steps}")
        if not 0 < epochs <= _MOST_EPOCHS:
            raise ValueError(f"epochs must be > 0 and <= {_MOST_EPOCHS}, got {epochs}")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be >= 1 or null, got {chunk}")
        for name, value in {"clip": clip, "validate_every": validate_every}.items():
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be >= 0, got {value}")
        _check_strategy(strategy)
        if precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
        if nonfinite not in POLICIES:
            raise ValueError(f"nonfinite must be one of {', '.join(POLICIES)}, got {nonfinite!r}")
        self.accelerator = accelerator
        self.devices = devices
        self.num_nodes = num_nodes
        self.strategy = strategy
        self.precision = _fastest(accelerator) if precision == "auto" else precision
        self.accumulate = accumulate
        self.clip = clip
        self.chunk = chunk
        self.compile = compile
        self.validate_every = validate_every
        self.checkpoint_every = checkpoint_every
        self.log_every = log_every
        self.deterministic = deterministic
        self.nonfinite = nonfinite
        self._steps = steps
        self._epochs = epochs

    def determine(self) -> None:
        """Switch deterministic operations on or off; call it before CUDA starts, as CUDA reads the setting once."""
        if self.deterministic:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(self.deterministic)

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.devices * self.num_nodes

    def steps(self, queries: int, batch_size: int) -> int:
        """Return the number of updates for a number of training queries and a batch size."""
        if self._steps is not None:
            return self._steps
        return max(1, math.ceil(self._epochs * queries / (batch_size * self.accumulate * self.world)))

    def make(
        self, steps: int, folder: Path, callbacks: list[Callback], loggers: list[Any], *, validate: bool
    ) -> lightning.Trainer:
        """Return the trainer.

        Parameters
        ----------
        steps
            Updates of the whole training.
        folder
            The run folder.
        callbacks
            Lightning's callbacks.
        loggers
            Lightning's loggers.
        validate
            Whether there is a dev split to validate on.

        Raises
        ------
        ConfigError
            The device is not available, or Lightning does not support this combination of device, strategy and
            precision.
        """
        validate = validate and self.validate_every > 0
        show = draws_bars()
        shown = Bar() if show else Lines()
        try:
            return self._made(steps, folder, [*callbacks, shown], loggers, validate, show)
        except (MisconfigurationException, ValueError, TypeError) as error:
            asked = " ".join(
                f"{key}={getattr(self, key)}" for key in ("accelerator", "devices", "strategy", "precision")
            )
            raise ConfigError(f"trainer: {str(error).strip().splitlines()[0]} (asked for: {asked})") from error

    def _made(
        self, steps: int, folder: Path, callbacks: list[Callback], loggers: list[Any], validate: bool, show: bool
    ) -> lightning.Trainer:
        return lightning.Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.num_nodes,
            strategy=self.strategy,
            precision=self.precision,  # pyright: ignore[reportArgumentType]
            max_steps=steps,
            max_epochs=-1,
            accumulate_grad_batches=self.accumulate,
            gradient_clip_val=self.clip or None,
            val_check_interval=self.validate_every * self.accumulate if validate else None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if validate else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=self.log_every,
            deterministic=self.deterministic,
            use_distributed_sampler=False,
            callbacks=callbacks,
            enable_progress_bar=show,
            enable_model_summary=False,
            logger=loggers or False,
            default_root_dir=folder,
            plugins=[AtomicCheckpoints()] if self.world > 1 else [AtomicCheckpoints(), Alone()],
        )
