"""Checkpoints that are whole or absent, and hold nothing but tensors and plain containers.

The format of torch is a ZIP file, which has a checksum of each member. torch writes these and never looks at them; here
they are, so that a file damaged by a disk or a copy is reported, not trained on.
"""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from limbeck.config import ConfigError

log = logging.getLogger(__name__)

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
"""The state that ``last.ckpt`` held before: kept until the training ends, for the case that the last is damaged."""
BEST = "best.ckpt"

_STUDENT = "student."
"""What the names of a student's weights begin with in a checkpoint."""

_SHOWN = 4


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the target, syncs, then renames: a kill leaves the previous checkpoint, a full disk does too."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint; the one that ``last.ckpt`` was becomes ``previous.ckpt``."""
        del storage_options
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _unfinished(target)
        try:
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        if target.name == LAST and target.exists():
            os.replace(target, target.with_name(PREVIOUS))
        os.replace(unfinished, target)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint to the CPU; a ConfigError if it cannot be read."""
        del map_location, weights_only  # the trainer moves what it needs
        return read(Path(path))


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.unfinished")


def to_resume(folder: Path) -> Path | None:
    """Return the latest checkpoint of a folder that is whole, None where there is none at all.

    A damaged one is reported by name, and the state before it is taken. What a kill left of a checkpoint is removed.

    Raises
    ------
    ConfigError
        All that are there are damaged.
    """
    damaged = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        fault = damage(path)
        if fault is None:
            if damaged:
                log.warning("checkpoint: %s is damaged (%s); the state before it is taken", *damaged[0])
            for name in (LAST, BEST):
                _unfinished(folder / name).unlink(missing_ok=True)
            return path
        damaged.append((path, fault))
    if damaged:
        listed = " and ".join(f"{path.name} ({fault})" for path, fault in damaged)
        raise ConfigError(
            f"checkpoint: no intact checkpoint is left in {folder}; damaged: {listed}. Remove the folder and run "
            "again: the training begins anew"
        )
    return None


def damage(path: Path) -> str | None:
    """Say what is wrong with the bytes of a checkpoint; None if each member agrees with its checksum."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except Exception as error:  # zipfile raises whatever its parsers raise on damaged headers
        return _first_line(error)
    return None if bad is None else f"the checksum of {bad} is wrong"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def between(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a state saved at the end of a batch is one that a training can go on from exactly.

    Not amid the batches of an update, since gradients are in no checkpoint, and not before a validation that is due:
    Lightning leaves that out when it goes on, and what it would have found to be the best is lost.
    """
    if (batch_idx + 1) % trainer.accumulate_grad_batches:
        return False
    return not (trainer.enable_validation and (batch_idx + 1) % int(trainer.val_check_batch or 1) == 0)


class _Movable(ModelCheckpoint):
    """Goes on with what it knew in another folder too, as after a run was moved; Lightning's forgets the best score."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the state of a checkpoint."""
        here = str(Path(self.dirpath or "") / f"{self.filename}{self.FILE_EXTENSION}")
        best = state_dict["best_model_score"]
        moved: dict[str, Any] = {"dirpath": self.dirpath}
        if state_dict["best_model_path"]:
            moved |= {"best_model_path": here}
        if best is not None:
            moved |= {"kth_best_model_path": here, "best_k_models": {here: best}}
        super().load_state_dict(state_dict | moved)


class _Last(_Movable):
    """Saves where a training can go on from exactly; after the validation, where one is due."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save if it is time."""
        if between(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save if it was time."""
        super().on_train_batch_end(trainer, pl_module, None, None, 0)


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
    last = _Last(
        **shared, filename=Path(LAST).stem, every_n_train_steps=every, save_top_k=1, save_on_train_epoch_end=False
    )
    if monitor is None:
        return [last]
    best = _Movable(**shared, filename=Path(BEST).stem, monitor=monitor, mode="max", save_top_k=1)
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
    checkpoint: Any = None
    fault = damage(path)
    if fault is None:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever its readers of pickles raise
            fault = _first_line(error)
    if fault is not None:
        raise ConfigError(
            f"checkpoint: {path} could not be read ({fault}). Remove {path.parent} and run again: the training begins "
            "anew"
        )
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
