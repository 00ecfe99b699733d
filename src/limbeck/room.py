"""Memory and disk space: what is free, what work needs, and an error before work begins that cannot fit.

Only work that certainly does not fit is refused: needs are lower bounds, from arrays of known sizes, and free space is
an upper bound, with everything that the system could release. Needs that are only extrapolated are shown, but never
refused.
"""

import contextlib
import shutil
from pathlib import Path

from limbeck.amounts import bytes_of
from limbeck.config import ConfigError

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT = 2**60
"""Bytes from which a limit is none: the system writes such numbers where there is no limit."""


def free_memory() -> int | None:
    """Return the bytes of memory that this process can still get; None if the system does not report it.

    The minimum of the machine's free memory and the rest of the limit of each control group of the process (containers,
    SLURM, systemd), without cached files, plus swap space.
    """
    found = _meminfo()
    if "MemAvailable" not in found:
        return None
    return min([found["MemAvailable"], *_left_in_groups()]) + found.get("SwapFree", 0)


def _meminfo() -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in (_PROC / "meminfo").read_text().splitlines())
        return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if len(words) > 1}
    return {}


def _left_in_groups() -> list[int]:
    """Return the rest of the limit of each control group, in version 2 or 1."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root = _CGROUP / "memory" if controllers else _CGROUP
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            )
            inner = root / place.strip("/")
            # A container may see its control group as the root, but under the host's path.
            for folder in {inner, *(each for each in inner.parents if each.is_relative_to(root))}:
                left = _left(folder, *names)
                found += [] if left is None else [left]
    return found


def _left(folder: Path, limit: str, usage: str) -> int | None:
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return None
    if most >= _NO_LIMIT:
        return None
    names = (
        ("total_active_file", "total_inactive_file")
        if "total_active_file" in stat
        else ("active_file", "inactive_file")
    )
    return max(0, most - used + sum(int(stat.get(name, 0)) for name in names))


def free_disk(folder: Path) -> int:
    """Return the bytes that can still be written below a folder, which need not exist."""
    folder = folder.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free


def check_memory(needed: int, what: str, instead: str) -> None:
    """Raise ``ConfigError`` if more memory is needed than is free.

    Parameters
    ----------
    needed
        Bytes that will certainly be allocated, besides those that are already.
    what
        What needs them.
    instead
        Advice: which key to change.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise ConfigError(f"{what} needs {bytes_of(needed)} of memory, but only {bytes_of(free)} are free: {instead}")


def check_disk(needed: int, folder: Path, what: str, instead: str) -> None:
    """Raise ``ConfigError`` if more is to be written into a folder than its disk has space for; parameters as above."""
    free = free_disk(folder)
    if needed > free:
        raise ConfigError(
            f"{what} needs {bytes_of(needed)} of disk in {folder}, but only {bytes_of(free)} are free: {instead}"
        )


def words(
    *, memory: float | None = None, disk: float | None = None, folder: Path | None = None, instead: str = ""
) -> str:
    """Return needs in words, for the line that announces a step.

    Parameters
    ----------
    memory, disk
        Estimated bytes; None is left out.
    folder
        Folder that is written to.
    instead
        Advice; added if the free memory or disk space will hardly suffice.
    """
    parts = []
    if memory is not None:
        parts.append(f"{bytes_of(memory)} of memory" + _short(memory, free_memory(), instead))
    if disk is not None and folder is not None:
        parts.append(f"{bytes_of(disk)} on disk in {folder}" + _short(disk, free_disk(folder), instead))
    return ", ".join(parts)


def _short(needed: float, free: int | None, instead: str) -> str:
    if free is None or needed <= free:
        return ""
    return f" (but only {bytes_of(free)} are free{instead and f': {instead}'})"
