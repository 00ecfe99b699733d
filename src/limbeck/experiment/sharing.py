"""Share work among several devices: a job on disk, one process per device, and the parts put together.

The processes run ``limbeck.experiment.share``.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.artefacts import write_json
from limbeck.config import Node, fingerprint
from limbeck.experiment.devices import each_device

JOB, WEIGHTS, CANDIDATES = "job.json", "weights.safetensors", "candidates.trec"


SHARES = ".shares"
"""Folder of a run for jobs and partial results; removed when the run is finished."""


@dataclass(frozen=True)
class Sharing:
    """How work is shared: all that another process needs in order to do a part of it."""

    devices: int
    data: Node
    """Configuration node of the collection."""
    cache: Path
    accelerator: str
    folder: Path
    """Folder of the jobs during the work."""

    def spread(self, job: Node, fill: Callable[[Path], object]) -> Path:
        """Run a job in other processes, and return its folder, which holds a part from each process.

        Parameters
        ----------
        job
            The job as plain containers. If it was killed before, only missing parts are done.
        fill
            Writes into the folder what is too large for the job itself.
        """
        whole = {**job, "devices": self.devices, "data": self.data, "cache": str(self.cache.resolve())}
        whole |= {"accelerator": self.accelerator}
        folder = self.folder / fingerprint(whole)
        if not (folder / JOB).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            fill(folder)
            write_json(folder / JOB, whole)
        each_device(self.devices, lambda number: ["limbeck.experiment.share", str(folder), str(number)])
        return folder

    def score(self, teacher: Node, lists: Mapping[str, Sequence[str]]) -> None:
        """Have a teacher, given as a configuration node, score lists into its store."""
        shutil.rmtree(self.spread({"task": "score", "teacher": teacher, "lists": lists}, lambda _: None))


def part(folder: Path, number: int, which: int = 0) -> Path:
    """Return the run file of one process, for one of the sets of queries."""
    return folder / f"{number}.{which}.trec"
