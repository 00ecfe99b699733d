"""Give each process one GPU, whatever other sweeps on this machine use: a lock file per device."""

import getpass
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
"""Lightning's names of accelerators."""

_held: list[FileLock] = []
"""Locks that this process holds until it ends."""


def check_accelerator(word: str) -> None:
    """Raise ``ValueError`` for an unknown accelerator."""
    if word not in ACCELERATORS:
        raise ValueError(f"accelerator must be one of {', '.join(ACCELERATORS)}, got {word!r}")


def take(per_device: int = 1) -> str | None:
    """Make one GPU visible to this process that no other process of a sweep has; a second call returns the same one.

    Must be called before CUDA is used. The system releases the lock when the process ends, however it ends.

    Parameters
    ----------
    per_device
        Number of processes that may share a GPU.

    Returns
    -------
    str or None
        The GPU; None if there is none.

    Raises
    ------
    RuntimeError
        All GPUs are taken.
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
