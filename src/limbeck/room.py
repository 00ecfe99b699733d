"""Memory and disk: what is free, what work needs in words, and a refusal before it begins where it cannot fit.

What is refused is what surely does not fit: needs are counted from below, from arrays whose sizes are known, and what
is free from above, with all that the system could give up. What is only extrapolated is said, and refused nowhere.
"""

import contextlib
import shutil
from pathlib import Path

from limbeck.amounts import bytes_of
from limbeck.config import ConfigError

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT = 2**60
"""Bytes; the system writes numbers beyond it where there is no limit."""


def free_memory() -> int | None:
    """Return the bytes of memory that this process could still get; None where the system does not say.

    The least of what the machine has and what is left of the limit of each control group that the process is in (of
    containers, SLURM, systemd), files that are kept in memory not counted, and swap space added.
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
    """Return what is left of the limit of each control group, of version 2 or 1."""
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
            # A container may see its own group as the root of all, under a path of the host.
            for folder in {inner, *(each for each in inner.parents if each.is_relative_to(root))}:
                left = _left(folder, *names)
                found += [] if left is None else [left]
    return found


def _left(folder: Path, limit: str, usage: str) -> int | None:
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max"
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
    """Return the bytes that can still be written below a folder, which may not be there yet."""
    folder = folder.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free


def check_memory(needed: int, what: str, instead: str) -> None:
    """Raise ``ConfigError`` where more memory is needed than there is.

    Parameters
    ----------
    needed
        Bytes that are surely allocated, beside those that are already.
    what
        What needs them.
    instead
        The way round: which key to change.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise ConfigError(f"{what} needs {bytes_of(needed)} of memory, but only {bytes_of(free)} are free: {instead}")


def check_disk(needed: int, folder: Path, what: str, instead: str) -> None:
    """Raise ``ConfigError`` where more is to be written into a folder than its disk has room for; see above."""
    free = free_disk(folder)
    if needed > free:
        raise ConfigError(
            f"{what} needs {bytes_of(needed)} of disk in {folder}, but only {bytes_of(free)} are free: {instead}"
        )


def words(
    *, memory: float | None = None, disk: float | None = None, folder: Path | None = None, instead: str = ""
) -> str:
    """Return needs in words, as the line of an estimate has them.

    Parameters
    ----------
    memory, disk
        Bytes, about; None is left out.
    folder
        Where they are written.
    instead
        The way round, for memory or a disk that will hardly do: it is said then.
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
