"""Runs kept in columns: of millions of candidates, those of a query become Python objects when they are looked at.

A file holds the rankings of some queries as Arrow columns: query, documents, scores. It is mapped into memory.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.rankings import Ranking, Run
from limbeck.scores.keys import ID

VERSION = 2
"""Of the format; the first was a TREC run."""


class KeptRun(Mapping[str, Ranking]):
    """The run that lies in some files: query id → ranking, queries in their order.

    Parameters
    ----------
    paths
        Files of ``write``, each with other queries.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._blocks = [_Block(path) for path in paths]
        queries = [query for block in self._blocks for query in block.queries()]
        self._numbers = {query: number for number, query in enumerate(queries)}
        self._starts = list(accumulate((len(block) for block in self._blocks), initial=0))

    def __getitem__(self, query: str) -> Ranking:
        number = self._numbers[query]
        block = bisect_right(self._starts, number) - 1
        return self._blocks[block].ranking(number - self._starts[block])

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, query: object) -> bool:
        return query in self._numbers


class _Block:
    """The rankings in one file."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            batch: Any = reader.get_batch(0)
        self._queries, documents, scores = batch.columns
        self._starts = documents.offsets.to_numpy()
        self._documents = documents.values
        self._scores = scores.values.to_numpy()

    def __len__(self) -> int:
        return len(self._queries)

    def queries(self) -> list[str]:
        return self._queries.to_pylist()

    def ranking(self, number: int) -> Ranking:
        start, stop = self._starts[number : number + 2].tolist()
        return Ranking(self._documents[start:stop].to_pylist(), self._scores[start:stop].copy())


def write(path: Path, run: Run) -> None:
    """Write a run into a new file; a query without documents is left out, as from a TREC file."""
    found = {query: ranking for query, ranking in run.items() if ranking.ids}
    offsets = pa.array(np.cumsum([0, *(len(ranking.ids) for ranking in found.values())]), pa.int64())
    documents = pa.array([document for ranking in found.values() for document in ranking.ids], ID)
    scores = np.concatenate([np.empty(0, np.float32), *(ranking.scores for ranking in found.values())])
    columns: dict[str, Any] = {
        "query": pa.array(list(found), ID),
        "documents": pa.LargeListArray.from_arrays(offsets, documents),
        "scores": pa.LargeListArray.from_arrays(offsets, pa.array(scores, pa.float32())),
    }
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def size(ids: Sequence[str]) -> float:
    """Return the bytes that a document takes in a file, with an id like these: the id, where it begins, the score."""
    return 8 + 4 + sum(len(name.encode()) for name in ids) / max(1, len(ids))
