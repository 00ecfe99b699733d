"""Matplotlib's list of fonts, which several processes may write when they draw for the first time."""

import contextlib
import os
import time
from pathlib import Path

_STALE = 60.0
"""Age in seconds from which a lock of Matplotlib belongs to a killed process: it is held only for a moment."""


def remove_stale_locks() -> None:
    """Remove locks that killed processes have left in Matplotlib's cache; call it before importing Matplotlib.

    Matplotlib locks its list of fonts with a file that a killed process never removes: each later process waits 5
    seconds for it, warns, and reads all fonts of the machine.
    """
    given = os.environ.get("MPLCONFIGDIR")
    cache = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
    with contextlib.suppress(OSError):
        for lock in list(cache.glob("*.matplotlib-lock")):
            if time.time() - lock.stat().st_mtime > _STALE:
                lock.unlink(missing_ok=True)
