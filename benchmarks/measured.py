"""What a command costs: time, processor time, memory of its tree of processes, disk."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_EVERY = 0.2
"""Seconds between two looks at the memory."""
_DISK = 5.0
"""Seconds between two looks at the disk."""


@dataclass
class Memory:
    """Largest sums over the processes of a tree, in MB."""

    resident: float = 0.0
    """All pages that they map, those of files too; a page that two share counts twice."""
    own: float = 0.0
    """Pages of their own (``RssAnon``) and of shared memory (``RssShmem``): without mapped files."""


@dataclass
class Measured:
    """What a command took."""

    status: int
    wall: float
    """Seconds."""
    cpu: float
    """Seconds in user and kernel mode, of the process and of all that were waited for."""
    memory: Memory = field(default_factory=Memory)
    disk: float = 0.0
    """MB that the folders hold more than before."""
    disk_peak: float = 0.0
    """The same at the worst moment that was seen."""


def tree(root: int) -> Iterator[int]:
    """Yield a process and all that it has started, of those that are there."""
    waiting = [root]
    while waiting:
        number = waiting.pop()
        yield number
        try:
            threads = list(Path(f"/proc/{number}/task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                waiting += map(int, (thread / "children").read_text().split())
            except OSError:
                continue


def memory(root: int) -> Memory:
    """Return what a tree of processes holds now."""
    found = Memory()
    for number in tree(root):
        try:
            lines = Path(f"/proc/{number}/status").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        held = {name: int(rest.split()[0]) / 1000 for name, _, rest in (line.partition(":") for line in lines)
                if name in ("VmRSS", "RssAnon", "RssShmem")}  # fmt: skip
        found.resident += held.get("VmRSS", 0.0)
        found.own += held.get("RssAnon", 0.0) + held.get("RssShmem", 0.0)
    return found


def size(folders: Sequence[Path]) -> float:
    """Return what files in some folders take on the disk, in MB; a file of several names counts once."""
    blocks: dict[int, int] = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                try:
                    status = os.lstat(os.path.join(place, name))
                except FileNotFoundError:
                    continue
                blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512 / 1e6


def measure(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], disks: Sequence[Path]
) -> Measured:
    """Run a command to its end.

    Parameters
    ----------
    command, folder, environment
        What, where, and what its environment has beside ours.
    log
        Takes what it prints, each line after the seconds since the start.
    disks
        Folders whose growth is measured.
    """
    before, start = size(disks), time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        bufsize=1,
    )
    peaks, ended = Memory(), threading.Event()
    worst = [before]

    def watch() -> None:
        looked = time.perf_counter()
        while not ended.wait(_EVERY):
            now = memory(process.pid)
            peaks.resident, peaks.own = max(peaks.resident, now.resident), max(peaks.own, now.own)
            if time.perf_counter() - looked > _DISK:
                worst[0] = max(worst[0], size(disks))
                looked = time.perf_counter()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        assert process.stdout is not None
        for line in process.stdout:
            told = line.rpartition("\r")[2].rstrip()  # of a bar that is drawn again and again, the last state
            if told:
                file.write(f"{time.perf_counter() - start:8.1f} {told}\n")
                file.flush()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    after = size(disks)
    found = Measured(process.returncode, wall, used.ru_utime + used.ru_stime, peaks)
    found.disk, found.disk_peak = after - before, max(worst[0], after) - before
    return found


def limbeck(words: Sequence[str]) -> list[str]:
    """Return the command as a process of this interpreter."""
    return [sys.executable, "-m", "limbeck", *words]
