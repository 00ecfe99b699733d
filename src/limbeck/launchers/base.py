"""What a launcher is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Job = Mapping[str, Any]
"""One job of a sweep, as plain containers: it can be given to any process."""
Outcome = Mapping[str, Any]
"""The outcome of a job; ``error`` says why it failed."""
Work = Callable[[Job], Outcome]
"""Makes a job; a function of a module, so that other processes can import it. It raises nothing."""


class Launcher(Protocol):
    """Makes jobs somewhere."""

    quiet: bool
    """Whether jobs share a terminal with others, and so should not tell there what they do."""

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Run jobs, and yield the position and outcome of each, as they end.

        Parameters
        ----------
        work
            Makes one.
        jobs
            All of them.
        folder
            Of the sweep, for what the launcher has to keep.
        """
        ...
