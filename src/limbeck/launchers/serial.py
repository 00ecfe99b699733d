"""Run one job after another in this process, so that everything is imported once."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from limbeck.launchers.base import Job, Outcome, Work
from limbeck.registry import register


@register("launcher", "serial")
class Serial:
    """One job after another, in this process."""

    quiet = False

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Run jobs in order."""
        del folder
        for position, job in enumerate(jobs):
            yield position, work(job)
