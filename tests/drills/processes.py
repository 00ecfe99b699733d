"""Commands as process groups of their own, that can be killed at a given point of the work.

The drill forks: limbeck and what it needs are imported once, so the seconds before a command does anything (imports)
are no part of it, and every kill falls into work. Where the point lies is measured in processor time, which does not
depend on what else the machine does.
"""

import os
import pkgutil
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked import become

_TICK = os.sysconf("SC_CLK_TCK")


def preload() -> None:
    """Import all of limbeck."""
    os.environ["COLUMNS"] = "200"
    import limbeck

    for module in pkgutil.walk_packages(limbeck.__path__, "limbeck."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def run(words: list[str], folder: Path, log: Path, until: float | None = None) -> tuple[int | None, float]:
    """Run a command in a folder; kill its process group when it has worked for ``until`` seconds.

    Returns
    -------
    tuple
        The exit status, None of a killed command; and the processor seconds that it took.
    """
    start = log.stat().st_size if log.exists() else 0
    child = os.fork()
    if not child:
        become(words, folder, log)
    seconds = 0.0
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            kill(child)  # what it may have left running
            if os.WIFSIGNALED(status):
                raise RuntimeError(f"{' '.join(words)} died of signal {os.WTERMSIG(status)}; see {log} from {start}")
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        seconds = worked(child)
        if until is not None and seconds >= until:
            kill(child)
            _, status, _ = os.wait4(child, 0)
            return (None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)), seconds
        time.sleep(0.002)


def worked(child: int) -> float:
    """Return the processor seconds of a process and of its threads."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def kill(child: int) -> None:
    """Kill a process and its group."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
