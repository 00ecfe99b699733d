"""Write files and folders atomically, with any number of processes writing at the same time.

Each process writes next to the target, under a name that no other process uses, and renames the complete file or
folder. Remains of a killed process are removed by the next one that writes the same target.
"""

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

MARK = "unfinished"
_COUNT = count()

_FOREIGN = 24 * 3600.0
"""Seconds without a change after which another machine's unfinished files count as left by a killed process."""


def beside(target: Path) -> Path:
    """Return a path next to ``target`` to write to, a new one at each call; no other process uses it.

    Remains of killed processes are removed.
    """
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    own = target.with_name(f".{target.name}.{host}.{os.getpid()}-{next(_COUNT):x}.{MARK}")
    pattern = re.compile(rf"\.?{re.escape(target.name)}(?:\.(.+)\.([0-9]+)-[0-9a-f]+)?\.{MARK}")
    for path in list(target.parent.iterdir()):
        found = pattern.fullmatch(path.name)
        if found and (path == own or _abandoned(path, found[1], found[2], host)):
            remove(path)
    return own


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to, which then replaces ``target``. The folder is created; an error leaves nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = beside(target)
    try:
        yield path
        os.replace(path, target)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def whole_folder(target: Path, fill: Callable[[Path], object], *, is_whole: Callable[[], bool]) -> None:
    """Fill a folder that is then renamed to ``target``; after an error nothing remains.

    If another process has written the target in the meantime, that one is kept.

    Parameters
    ----------
    target
        Must not exist.
    fill
        Called with an empty folder next to the target.
    is_whole
        Returns whether the target exists, complete, written by another process.
    """
    path = beside(target)
    path.mkdir()
    try:
        fill(path)
        try:
            os.rename(path, target)
        except OSError:
            if not is_whole():
                raise
    finally:
        remove(path)


def clear(folder: Path) -> None:
    """Remove unfinished files of killed processes in a folder into which no other process writes."""
    for path in list(folder.rglob(f"*.{MARK}")):
        remove(path)


def set_aside(target: Path) -> None:
    """Remove a folder in one step: no other process sees it half removed."""
    aside = beside(target)
    os.rename(target, aside)
    remove(aside)


def write_text(target: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with whole_file(target) as path:
        path.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file or a folder; another process may do so at the same time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _abandoned(path: Path, host: str | None, process: str | None, here: str) -> bool:
    """Return whether the process that wrote a path has ended, as far as this machine can find out."""
    if host is None or process is None:  # written by an earlier version, whose processes wrote one after the other
        return True
    if host == here:
        return not _runs(int(process))
    try:
        newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    except OSError:  # another process is removing or renaming it
        return False
    return time.time() - newest > _FOREIGN


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
