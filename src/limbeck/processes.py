"""Processes that end when the process that started them is gone, whatever killed it.

A process that dies of ``kill -9``, of a lack of memory, or of SIGTERM has no time to end its child processes. They
would continue, and hold their memory, their GPU and their locks. So every process that limbeck starts checks twice a
second whether its starter still exists, and is killed if not; its own child processes follow in the same way.

A process that starts others names itself in their environment (``naming_this``, ``named``); the started one calls
``end_with_parent``. It polls ``getppid``, which changes when the parent is gone: that works on Linux and macOS,
whichever thread started the process. Only the standard library is imported here, so that any process can afford it.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PARENT = "LIMBECK_PARENT"
"""Environment variable with the id of the process that must exist."""

_EVERY = 0.5
"""Seconds between two checks."""


def naming_this() -> dict[str, str]:
    """Return the environment variables for a process that this one starts."""
    return {PARENT: str(os.getpid())}


@contextmanager
def named() -> Iterator[None]:
    """Name this process in its own environment, which libraries copy for the processes they start; a context."""
    os.environ.update(naming_this())
    try:
        yield
    finally:
        os.environ.pop(PARENT, None)


def end_with_parent(parent: int | None = None) -> None:
    """Kill this process as soon as its starter is gone; at once, if it is gone already.

    Parameters
    ----------
    parent
        Id of the process that must exist; None takes the one in the environment. If there is none, limbeck did not
        start this process, and it may outlive its parent. It need not be the direct parent: a shell or another program
        may be between the two.
    """
    named = os.environ.pop(PARENT, None)  # child processes of this one get its own id, or none
    if parent is None:
        if named is None:
            return
        parent = int(named)
    direct = os.getppid() == parent
    threading.Thread(target=_watch, args=(parent, direct), name="end with parent", daemon=True).start()


def _watch(parent: int, direct: bool) -> None:
    """Kill this process when the other is gone; a direct parent counts as gone even if it is a zombie."""
    while os.getppid() == parent if direct else _exists(parent):
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process has the id now
        return False
    return not _ended(number)


def _ended(number: int) -> bool:
    """Return whether a process is a zombie: ended, but not yet waited for, perhaps as its parent waits for this one."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # not on Linux
        return False
