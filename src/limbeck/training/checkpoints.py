"""Checkpoints that are whole or absent, and hold nothing but tensors and plain containers."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

LAST = "last.ckpt"
BEST = "best.ckpt"


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


def load_student(path: Path, student: torch.nn.Module) -> int:
    """Load a student's weights from a checkpoint of the whole training; returns its step."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "student."
    weights = {
        name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items() if name.startswith(prefix)
    }
    student.load_state_dict(weights)
    return int(checkpoint["global_step"])
