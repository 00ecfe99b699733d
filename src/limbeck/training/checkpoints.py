"""Checkpoints that are whole or absent, and hold nothing but tensors and plain containers."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from limbeck.config import ConfigError

LAST = "last.ckpt"
BEST = "best.ckpt"

_STUDENT = "student."
"""What the names of a student's weights begin with in a checkpoint."""

_SHOWN = 4


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the target, syncs, then renames: a kill leaves the previous checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint."""
        del storage_options
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.unfinished")
        with unfinished.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint to the CPU; a ConfigError if it cannot be read."""
        del map_location, weights_only  # the trainer moves what it needs
        return read(Path(path))


def callbacks(folder: Path, every: int, monitor: str | None) -> list[Callback]:
    """Return the callbacks that keep ``last.ckpt`` and, if something is monitored, ``best.ckpt``.

    Parameters
    ----------
    folder
        Where to.
    every
        Steps between two states of ``last.ckpt``.
    monitor
        Logged value that makes a state the best, higher is better.
    """
    shared = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    last = ModelCheckpoint(
        **shared, filename=Path(LAST).stem, every_n_train_steps=every, save_top_k=1, save_on_train_epoch_end=False
    )
    if monitor is None:
        return [last]
    best = ModelCheckpoint(**shared, filename=Path(BEST).stem, monitor=monitor, mode="max", save_top_k=1)
    return [best, last]


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of a training, on the CPU.

    Raises
    ------
    ConfigError
        The file is missing, damaged, or no checkpoint of a training.
    """
    if not path.is_file():
        raise ConfigError(f"checkpoint: there is no {path}; the run has to be trained first")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its readers of zip files and pickles raise
        first = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ConfigError(
            f"checkpoint: {path} could not be read ({first}). Remove it and run again: the training begins anew"
        ) from error
    lacking = [
        key for key in ("state_dict", "global_step") if not isinstance(checkpoint, dict) or key not in checkpoint
    ]
    if lacking:
        raise ConfigError(f"checkpoint: {path} holds no {' and no '.join(lacking)}: it is no checkpoint of a training")
    return checkpoint


def load_student(path: Path, student: torch.nn.Module) -> int:
    """Load a student's weights from a checkpoint of the whole training; returns its step.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds the weights of another student; nothing is loaded then.
    """
    checkpoint = read(path)
    weights = {
        name.removeprefix(_STUDENT): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(_STUDENT)
    }
    own = student.state_dict()
    faults = [f"lacks {name}" for name in own if name not in weights]
    faults += [f"has {name}" for name in weights if name not in own]
    faults += [
        f"has {name} of shape {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and own[name].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - _SHOWN} faults more" if len(faults) > _SHOWN else ""
        raise ConfigError(f"checkpoint: {path} is of another student: it {', '.join(faults[:_SHOWN])}{more}")
    student.load_state_dict(weights)
    return int(checkpoint["global_step"])
