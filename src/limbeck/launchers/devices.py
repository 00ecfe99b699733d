"""One GPU a process, whoever else on this machine takes some: a lock file a device."""

import getpass
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
"""Where models run, as Lightning names it."""

_held: list[FileLock] = []
"""Locks that this process keeps until it ends."""


def check_accelerator(word: str) -> None:
    """Raise ``ValueError`` for a word that names no accelerator."""
    if word not in ACCELERATORS:
        raise ValueError(f"accelerator must be one of {', '.join(ACCELERATORS)}, got {word!r}")


def take(per_device: int = 1) -> str | None:
    """Let this process see one GPU that no other process of a sweep has; the same one if it is asked again.

    Must be called before CUDA is used. The system gives the lock back when the process ends, however it ends.

    Parameters
    ----------
    per_device
        How many processes may share a GPU.

    Returns
    -------
    str or None
        The GPU; None where there is none.

    Raises
    ------
    RuntimeError
        All are taken.
    """
    if _held:
        return os.environ[VISIBLE]
    names = _visible()
    if not names:
        return None
    root = Path(tempfile.gettempdir()) / f"limbeck-devices-{getpass.getuser()}"
    root.mkdir(exist_ok=True)
    for slot in range(per_device):
        for name in names:
            lock = FileLock(root / f"{name.replace('/', '_')}.{slot}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _held.append(lock)
            os.environ[VISIBLE] = name
            return name
    raise RuntimeError(
        f"no GPU is free: {len(names)} with {per_device} process{'es' * (per_device > 1)} each are taken by sweeps on "
        "this machine; lower the number of workers, raise launcher.per_device, or wait"
    )


def _visible() -> list[str]:
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
