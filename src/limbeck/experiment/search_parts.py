"""Partial results of a search on disk: one run file for each share of the shards and block of queries."""

import json
import logging
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from limbeck.artefacts import write_json
from limbeck.config import ConfigError, Node, differences
from limbeck.locks import locked

if TYPE_CHECKING:
    from limbeck.types import Run

log = logging.getLogger(__name__)


def lock(path: Path) -> AbstractContextManager[object]:
    """Hold the lock of a file that a search writes."""
    return locked(path.with_name(f".{path.name}.lock"), str(path))


class Parts:
    """A folder of run files, one for each share of the shards and block of queries.

    Parameters
    ----------
    folder
        Folder next to the output file.
    count
        Number of shares; with one, no other process writes into the folder.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count

    @classmethod
    def beside(cls, out: Path, count: int) -> Self:
        """Return the folder of the parts of an output file."""
        return cls(out.with_name(f"{out.name}.parts"), count)

    def forget(self) -> None:
        """Remove the parts that an unshared search left if it was killed after its last write."""
        record = self._folder / "parts.json"
        if record.exists() and json.loads(record.read_text(encoding="utf-8"))["shards"] == 1:
            self.remove()

    def lock(self) -> AbstractContextManager[object]:
        """Hold the lock of the folder."""
        return lock(self._folder)

    def open(self, inputs: Node) -> None:
        """Create the folder, or check that it belongs to this search.

        Parts of another, unshared search that was killed are removed.

        Raises
        ------
        ConfigError
            It holds parts of another search that is shared.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        record = self._folder / "parts.json"
        with self.lock():
            found = json.loads(record.read_text(encoding="utf-8")) if record.exists() else None
            if found is not None and found != inputs and found["shards"] == self._count == 1:
                log.info("%s: the parts there belong to another search and are removed", self._folder)
                shutil.rmtree(self._folder)
                self._folder.mkdir()
                found = None
            if found is None:  # shares may start at the same moment
                write_json(record, inputs)
            elif found != inputs:
                raise ConfigError(
                    f"out: {self._folder} holds parts of another search (they differ in "
                    f"{', '.join(differences(found, inputs))}); delete it or give another file"
                )

    def path(self, number: int, block: int) -> Path:
        """Return the run file of a share for a block of queries, both from 0."""
        return self._folder / f"{number + 1}-of-{self._count}.{block:06d}.trec"

    def complete(self, blocks: int, out: Path) -> bool:
        """Return whether all shares of all blocks are there; log how many are, unless they are merged already."""
        there = [all(self.path(n, block).exists() for block in range(blocks)) for n in range(self._count)]
        if not all(there) and not out.exists():
            log.info("%s: %d of %d parts are there", self._folder, sum(there), self._count)
        return all(there)

    def read(self, block: int) -> "list[Run]":
        """Return the rankings of all shares for a block of queries."""
        from limbeck.evaluation.runs import read_run

        return [read_run(self.path(number, block)) for number in range(self._count)]

    def write(self, number: int, block: int, found: "Run") -> None:
        """Write the rankings of a share for a block of queries."""
        from limbeck.evaluation.runs import write_run

        write_run(self.path(number, block), found, "limbeck")

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder)


def is_free(out: Path, config: Node, *, shared: bool) -> bool:
    """Return whether a run file should be written; False for a share of a search whose file exists already.

    Raises
    ------
    ConfigError
        The file exists, and the search is not shared.
    """
    if config["force"] or not out.exists():
        return True
    if not shared:
        Parts.beside(out, 1).forget()
        raise ConfigError(f"out: {out} exists; give another file, or write over it by force=true")
    log.info("%s is complete: nothing to do for shard=%s", out, config["shard"])
    return False
