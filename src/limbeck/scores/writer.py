"""Writes score stores: from blocks of pairs in any order to a sorted store without duplicates.

Each block is sorted and written to ``parts/``, so a killed writer loses only the current block. At the end the parts
are merged, one range of queries at a time, so the memory depends on the range and not on the store.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.locks import locked
from limbeck.progress import Step
from limbeck.scores.checksum import Checksum, digests
from limbeck.scores.kinds import Kind, Values, doubtful, impossible, way_round
from limbeck.scores.parts import Block, Duplicates, Part, id_table, merge, ranges, sorted_part, write_arrow
from limbeck.scores.store import META, VERSION, ScoreStore


@dataclass(frozen=True)
class Provenance:
    """Where scores come from."""

    teacher: str
    """Name of the model or system."""
    kind: Kind = "unknown"
    """Kind of the scores: see ``limbeck.scores.kinds``."""
    scale: float | None = None
    """Factor that the scores (before a softmax or sigmoid) were multiplied by: 20 for cosines × 20, 1/τ for a
    temperature τ. None if it is not known."""
    revision: str | None = None
    """Revision or checksum of the model's weights."""
    prompt: str | None = None
    """Prompt or template of the pair."""
    max_length: str | None = None
    """Maximum length of texts in tokens."""
    dtype: str | None = None
    """Precision of the model."""
    collection: str | None = None
    """Fingerprint of the collection whose texts were scored."""
    command: str | None = None
    """Command that wrote the store."""


def write_store(
    path: Path | str,
    blocks: Iterable[Callable[[], Block]],
    provenance: Provenance,
    *,
    duplicates: Duplicates = "error",
    threads: int = 2,
    notes: Callable[[], dict[str, Any]] | None = None,
    check: Callable[[], object] | None = None,
    doubt: bool = False,
) -> ScoreStore:
    """Write a new store from blocks.

    Parameters
    ----------
    path
        Folder of the store. An existing store is replaced when the new one is complete.
    blocks
        Functions that return the blocks; called in ``threads`` threads, a few at a time.
    provenance
        Where the scores come from.
    duplicates
        What to do with a pair that has several different scores: ``error``, or keep the ``first``. Equal scores are
        merged and counted.
    threads
        Number of threads that parse and sort.
    notes
        Called at the end; returns further entries for ``meta.json``.
    check
        Called first, while the store is locked; raises an error if the store must not be replaced.
    doubt
        Also raise an error for scores that are probably not of the declared kind
        (``limbeck.scores.kinds.doubtful``).

    Raises
    ------
    ConfigError
        A score is NaN or infinite, or a pair has different scores (the message names the pair); the scores are not of
        the declared kind; or there are no pairs.
    """
    writer = StoreWriter(path, provenance, duplicates=duplicates, threads=threads, doubt=doubt)
    with writer:
        if check is not None:
            check()
        shutil.rmtree(writer.parts, ignore_errors=True)
        writer.parts.mkdir()
        for _ in _ahead(threads, (_numbered(writer.add, number, block) for number, block in enumerate(blocks))):
            pass
        return writer.seal(notes=notes() if notes else {})


def _numbered(add: Callable[[int, Block], None], number: int, block: Callable[[], Block]) -> Callable[[], None]:
    return lambda: add(number, block())


class StoreWriter:
    """Writes a store; as a context manager it holds the store's lock.

    ``add`` writes numbered parts, in any order and from any process. ``done`` lists the finished parts, so that a
    killed writer can resume. ``seal`` merges the parts, and optionally the previous store, into the finished store.

    Parameters
    ----------
    path, provenance, duplicates, threads, doubt
        As in ``write_store``.
    """

    def __init__(
        self,
        path: Path | str,
        provenance: Provenance,
        *,
        duplicates: Duplicates = "error",
        threads: int = 2,
        doubt: bool = False,
    ) -> None:
        self.path = Path(path)
        self.parts = self.path / "parts"
        self._provenance = provenance
        self._duplicates: Duplicates = duplicates
        self._threads = threads
        self._doubt = doubt
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self.parts.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(self.path / ".lock", f"the score store {self.path}"))
        self.parts.mkdir(exist_ok=True)  # the previous holder of the lock may have removed it
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def done(self) -> set[int]:
        """Return the numbers of the finished parts."""
        return {int(file.stem) for file in self.parts.glob("*.arrow")}

    def sample(self, count: int) -> list[tuple[str, str, float]]:
        """Return at most ``count`` pairs of the finished parts: query id, document id, score."""
        files = sorted(self.parts.glob("*.arrow"))[:count]
        return [pair for file in files for pair in Part(file).sample(-(-count // len(files)))][:count]

    def add(self, number: int, block: Block) -> None:
        """Sort a block and write it as a part, atomically.

        Raises
        ------
        ConfigError
            Its scores are not of the kind that the provenance declares.
        """
        part = sorted_part(block, self._duplicates, self.path)
        self._judge(Values.of(part["score"].to_numpy()))
        write_arrow(self.parts / f"{number:08d}.arrow", [part])

    def _judge(self, values: Values) -> None:
        kind = self._provenance.kind
        why = impossible(kind, self._provenance.scale, values) or (doubtful(kind, values) if self._doubt else None)
        if why:
            raise ConfigError(f"{self.path}: kind={kind} was given, but {why}; {way_round(values)}")

    # -- the end --------------------------------------------------------------------------------------------------

    def seal(self, *, before: ScoreStore | None = None, notes: dict[str, Any] | None = None) -> ScoreStore:
        """Merge the parts into a finished store and remove them.

        Parameters
        ----------
        before
            The existing store, whose pairs are kept; None to replace it.
        notes
            Further entries for ``meta.json``.
        """
        sources = [Part(file) for file in sorted(self.parts.glob("*.arrow"))]
        if before is not None:
            before.verify()  # damaged data must not get a new checksum
            sources.insert(0, Part.of(before))
        if not sum(len(source) for source in sources):
            raise ConfigError(f"{self.path}: there are no pairs to store")
        if len({source.names for source in sources}) > 1:
            raise ConfigError(f"{self.path}: some pairs have ranks and others do not")
        data = self.path / "unfinished"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        counts = self._merge(sources, data)
        write_arrow(data / "ids.arrow", [id_table([source.ids for source in sources], self.path)])
        meta = {
            "version": VERSION,
            **asdict(self._provenance),
            **counts,
            **(notes or {}),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        target = self.path / meta["checksum"]
        if self._sound(meta["checksum"]):  # the same scores: do not remove data that meta.json names
            shutil.rmtree(data)
        else:
            shutil.rmtree(target, ignore_errors=True)
            os.rename(data, target)
        write_json(self.path / META, meta | {"files": digests(target)})
        shutil.rmtree(self.parts)
        for folder in self.path.iterdir():  # data that meta.json no longer names
            if folder != target and re.fullmatch("[0-9a-f]{32}", folder.name):
                shutil.rmtree(folder)
        return ScoreStore.open(self.path)

    def _sound(self, checksum: str) -> bool:
        """Return whether the existing store has this checksum and is undamaged."""
        try:
            store = ScoreStore.open(self.path)
            store.verify()
        except ConfigError:
            return False
        return store.checksum == checksum

    def _merge(self, sources: list[Part], data: Path) -> dict[str, Any]:
        checksum, values, tables, rows, merged = Checksum(), Values(), [], 0, 0
        borders = ranges(sources)
        work = (merge(sources, low, high, self._duplicates, self.path) for low, high in borders)
        step = Step(f"merging {self.path}", sum(len(source) for source in sources), "pairs")
        with pa.OSFile(str(data / "rows.arrow"), "wb") as file, step:
            out: Any = None
            for number, (part, dropped) in enumerate(_ahead(self._threads, work)):
                batch = part.rows.select(["document", "score", *(["rank"] if "rank" in part.rows.schema.names else [])])
                out = out or pa.ipc.new_file(file, batch.schema)
                out.write_batch(batch)
                queries, starts, counts, first = part.queries
                checksum.add(queries, counts, [column.to_numpy() for column in batch.columns])
                values.add(batch["score"].to_numpy(), starts)
                size = len(queries)
                tables.append((queries, np.full(size, number, np.int32), starts, counts, first))
                rows += len(batch)
                merged += dropped
                step.advance(len(batch) + dropped)
            out.close()
        self._judge(values)
        names = ("query", "batch", "start", "count", "position")
        columns = [np.concatenate(column) for column in zip(*tables, strict=True)]
        columns[-1] = np.argsort(np.argsort(columns[-1], kind="stable"), kind="stable")
        write_arrow(data / "queries.arrow", [pa.record_batch(dict(zip(names, columns, strict=True)))])
        per_query = columns[3]
        return {
            "rows": rows,
            "queries": len(columns[0]),
            "per_query": [int(per_query.min()), float(np.median(per_query)), int(per_query.max())],
            "merged": merged + sum(source.merged for source in sources),
            "batches": len(tables),
            "has_ranks": "rank" in sources[0].names,
            "score_type": str(sources[0].score_type),
            "values": values.notes(),
            "checksum": checksum.text(),
        }


def _ahead(threads: int, work: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Run functions in threads, slightly ahead of the consumer; yield the results in order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Any]] = []
        try:
            for each in work:
                waiting.append(pool.submit(each))
                if len(waiting) > threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
