"""Checkpoints, written atomically, with verified checksums; they hold only tensors and plain containers.

torch's format is a ZIP file with a checksum of each member. torch does not verify the checksums; this module does, so
that a damaged file is an error instead of wrong weights.
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
"""The previous content of ``last.ckpt``, a fallback for a damaged ``last.ckpt``; removed when training ends."""
BEST = "best.ckpt"

_STUDENT = "student."
"""Prefix of the student's weights in a checkpoint."""

_SHOWN = 4


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a temporary file, syncs, then renames it, so that a kill or a full disk leaves the previous checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint; rename an old ``last.ckpt`` to ``previous.ckpt`` first."""
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
        """Load a checkpoint to the CPU; raise ``ConfigError`` if it cannot be read."""
        del map_location, weights_only  # the trainer moves tensors to the device
        return read(Path(path))


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.unfinished")


def to_resume(folder: Path) -> Path | None:
    """Return the latest intact checkpoint of a folder; None if there is no checkpoint.

    If ``last.ckpt`` is damaged, log a warning and return ``previous.ckpt``. Remove temporary files of a killed run.

    Raises
    ------
    ConfigError
        All checkpoints are damaged.
    """
    damaged = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        fault = damage(path)
        if fault is None:
            if damaged:
                log.warning("checkpoint: %s is damaged (%s); resuming from the previous one", *damaged[0])
            for name in (LAST, BEST):
                _unfinished(folder / name).unlink(missing_ok=True)
            return path
        damaged.append((path, fault))
    if damaged:
        listed = " and ".join(f"{path.name} ({fault})" for path, fault in damaged)
        raise ConfigError(
            f"checkpoint: no intact checkpoint is left in {folder}; damaged: {listed}. Remove the folder and run "
            "again: training starts from the beginning"
        )
    return None


def damage(path: Path) -> str | None:
    """Return a description of a checkpoint file's damage; None if the checksums of all members are right."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except Exception as error:  # zipfile raises many types of errors for damaged headers
        return _first_line(error)
    return None if bad is None else f"the checksum of {bad} is wrong"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def between(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether training can resume exactly from a checkpoint saved at the end of a batch.

    It cannot between the accumulated batches of an update, as checkpoints do not hold gradients, nor before a due
    validation: Lightning skips it when it resumes, which could lose the best checkpoint.
    """
    if (batch_idx + 1) % trainer.accumulate_grad_batches:
        return False
    return not (trainer.enable_validation and (batch_idx + 1) % int(trainer.val_check_batch or 1) == 0)


class _Movable(ModelCheckpoint):
    """Restores its state in a moved run folder too; Lightning's class would forget the best score."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with the paths of this folder."""
        here = str(Path(self.dirpath or "") / f"{self.filename}{self.FILE_EXTENSION}")
        best = state_dict["best_model_score"]
        moved: dict[str, Any] = {"dirpath": self.dirpath}
        if state_dict["best_model_path"]:
            moved |= {"best_model_path": here}
        if best is not None:
            moved |= {"kth_best_model_path": here, "best_k_models": {here: best}}
        super().load_state_dict(state_dict | moved)


class _Last(_Movable):
    """Saves only where training can resume exactly; if a validation is due, after it."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save if a checkpoint is due and training could resume from it exactly."""
        if between(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save if a checkpoint was due before the validation."""
        super().on_train_batch_end(trainer, pl_module, None, None, 0)


def callbacks(folder: Path, every: int, monitor: str | None) -> list[Callback]:
    """Return the callbacks that save ``last.ckpt`` and, if a metric is monitored, ``best.ckpt``.

    Parameters
    ----------
    folder
        Folder of the checkpoints.
    every
        Steps between two saves of ``last.ckpt``.
    monitor
        Logged metric that selects the best checkpoint, higher is better; None saves no ``best.ckpt``.
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
    """Return the content of a training checkpoint, on the CPU.

    Raises
    ------
    ConfigError
        The file is missing, damaged, or not a training checkpoint.
    """
    if not path.is_file():
        raise ConfigError(f"checkpoint: there is no {path}; the run has to be trained first")
    checkpoint: Any = None
    fault = damage(path)
    if fault is None:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch passes on any error of its unpickler
            fault = _first_line(error)
    if fault is not None:
        raise ConfigError(
            f"checkpoint: {path} could not be read ({fault}). Remove {path.parent} and run again: training starts from "
            "the beginning"
        )
    lacking = [
        key for key in ("state_dict", "global_step") if not isinstance(checkpoint, dict) or key not in checkpoint
    ]
    if lacking:
        raise ConfigError(f"checkpoint: {path} holds no {' and no '.join(lacking)}: it is not a training checkpoint")
    return checkpoint


def load_student(path: Path, student: torch.nn.Module) -> int:
    """Load a student's weights from a training checkpoint and return its step.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds the weights of another student; the student is then unchanged.
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
        raise ConfigError(f"checkpoint: {path} belongs to another student: it {', '.join(faults[:_SHOWN])}{more}")
    student.load_state_dict(weights)
    return int(checkpoint["global_step"])
