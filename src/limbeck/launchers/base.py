"""The interface of launchers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Job = Mapping[str, Any]
"""One job of a sweep, as plain containers that any process can receive."""
Outcome = Mapping[str, Any]
"""The outcome of a job; ``error`` says why it failed."""
Work = Callable[[Job], Outcome]
"""Does a job; a module's function, so that other processes can import it. It raises no errors."""


class Launcher(Protocol):
    """Runs jobs somewhere."""

    quiet: bool
    """Whether jobs share a terminal with others, and therefore should not write to it."""

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Run jobs, and yield the position and outcome of each when it ends.

        Parameters
        ----------
        work
            Does one job.
        jobs
            All jobs.
        folder
            Folder of the sweep, for the launcher's files.
        """
        ...
