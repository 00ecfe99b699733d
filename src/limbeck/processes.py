"""Processes that end when the process that started them is gone, whatever killed it.

``kill -9``, a lack of memory, or SIGTERM leave a process no time to end those that it has started: they would go on,
and hold their memory, their GPU and their locks. So every process that we start asks twice a second whether the one
that started it is still there, and if not, it is killed; those that it has started itself follow in the same way.

The one that starts others names itself in their environment (``naming_this``, ``named``); the started one
calls ``end_with_parent``. It asks for ``getppid``, which changes when the parent is gone: that works on Linux and
macOS, whichever thread started the process. Only the standard library is imported here, so that any process can
afford it.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PARENT = "LIMBECK_PARENT"
"""Environment variable with the number of the process that must be there."""

_EVERY = 0.5
"""Seconds between two looks."""


def naming_this() -> dict[str, str]:
    """Return what a process that this one starts must find in its environment."""
    return {PARENT: str(os.getpid())}


@contextmanager
def named() -> Iterator[None]:
    """Name this process in its own environment, for processes that a library starts with a copy of it."""
    os.environ.update(naming_this())
    try:
        yield
    finally:
        os.environ.pop(PARENT, None)


def end_with_parent(parent: int | None = None) -> None:
    """Kill this process as soon as the one that started it is gone; at once, if it is gone already.

    Parameters
    ----------
    parent
        Number of the process that must be there; None takes the one that the environment names. Where it names none,
        nobody of ours has started this process, and it may outlive whoever did. Not only the parent can be named:
        between the two may be a shell, or a program of somebody else.
    """
    named = os.environ.pop(PARENT, None)  # our own children get our number, or none
    if parent is None:
        if named is None:
            return
        parent = int(named)
    direct = os.getppid() == parent
    threading.Thread(target=_watch, args=(parent, direct), name="end with parent", daemon=True).start()


def _watch(parent: int, direct: bool) -> None:
    """Kill this process when the other is gone; a direct parent counts as gone even if nobody has waited for it."""
    while os.getppid() == parent if direct else _exists(parent):
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else has got the number since
        return False
    return not _ended(number)


def _ended(number: int) -> bool:
    """Return whether a process has ended and nobody has waited for it yet; who would may be waiting for this one."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # not Linux
        return False
