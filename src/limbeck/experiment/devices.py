"""Start one process per device, and wait for all."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from limbeck.config import ConfigError
from limbeck.processes import naming_this


def each_device(devices: int, words: Callable[[int], Sequence[str]], share: str | None = None) -> None:
    """Run a limbeck command in one process for each device, and wait until all have ended.

    With GPUs, each process sees one of them; without, each gets its share of the processor's threads.

    Parameters
    ----------
    devices
        Number of processes.
    words
        Maps the number of a process, from 0, to the words after ``python -m``.
    share
        Environment variable that gives each process its number and the count as ``i/n``; None sets none.

    Raises
    ------
    ConfigError
        A process failed; its messages are on standard error.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # empty: there are GPUs, but none is to be used
    names = [str(number) for number in range(devices)] if visible is None else visible.split(",")
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *words(number)],
            env={
                **os.environ,
                **naming_this(),
                **({share: f"{number}/{devices}"} if share else {}),
                "CUDA_VISIBLE_DEVICES": names[number % len(names)],
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
            },
        )
        for number in range(devices)
    ]
    try:
        failed = [number for number, process in enumerate(started) if process.wait()]
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
    if failed:
        raise ConfigError(f"processes {failed} of {devices} failed; run the same command again to finish the rest")
