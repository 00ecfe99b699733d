"""Locks among processes: of one machine, or of several that share a file system."""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from limbeck.config import ConfigError

log = logging.getLogger(__name__)

_BRIEF = 0.3
"""Seconds of waiting before a message is logged."""

_POLL = 0.05
"""Seconds between two attempts to acquire a lock that another process holds."""


class BusyError(ConfigError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock; the system releases it when the process ends, however it ends.

    A process that waits logs one line: what for, and which process holds the lock.

    Parameters
    ----------
    path
        The lock file. Its folder must exist. The file is never deleted: deleting it while others wait could let two
        processes in.
    what
        What the lock protects, in the user's words: a file, a folder, a run.
    wait
        Wait for a process that holds the lock, however long it takes.

    Yields
    ------
    bool
        Whether another process held the lock before; what it protects may then have changed.

    Raises
    ------
    BusyError
        Another process holds the lock, and ``wait`` is False.
    ConfigError
        The file system has no locks.
    OSError
        The lock file cannot be created.
    """
    lock = FileLock(path)
    busy = not _acquired(lock, path, _BRIEF if wait else 0)
    if busy:
        _open(path)
        if not wait:
            raise BusyError(f"another process is working on {what} ({holder(path)}); wait for it or end it")
        log.info("waiting for %s (held by %s)", what, holder(path))
        _acquired(lock, path, -1)
    try:
        _sign(path, f"{os.getpid()} {socket.gethostname()}")
        yield busy
    finally:
        _sign(path, "")
        lock.release()


def _open(path: Path) -> None:
    """Open a lock file that could not be acquired, to find out whether it can be created at all.

    filelock takes "no such file" for a lock that was just deleted, and would retry for ever.

    Raises
    ------
    OSError
        It cannot be created.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        free = _acquired(lock, path, 0)
    except OSError:  # no permission to write there
        return False
    lock.release()
    return not free


def holder(path: Path) -> str:
    """Return the process that holds a lock, in words."""
    with contextlib.suppress(OSError, ValueError):
        process, host = path.read_text(encoding="utf-8").split()
        return f"process {int(process)} on host {host}"
    return "another process"


def _acquired(lock: FileLock, path: Path, timeout: float) -> bool:
    try:
        lock.acquire(timeout=timeout, poll_interval=_POLL)
    except Timeout:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise ConfigError(
                f"{path} cannot be locked: its file system has no locks ({error.strerror}); choose a folder on "
                "another disk, or mount this one with locks"
            ) from None
        raise
    return True


def _sign(path: Path, text: str) -> None:
    """Write this process into the lock file, for those that wait; the file's time is not changed."""
    with contextlib.suppress(OSError):
        times = path.stat()
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
