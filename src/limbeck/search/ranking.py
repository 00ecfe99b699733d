"""From encoded queries and a store to a run: search with a backend, or re-rank a first stage."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from limbeck import room
from limbeck.compare import pairwise
from limbeck.config import ConfigError
from limbeck.encodings import Rows, not_finite
from limbeck.evaluation.array_run import ArrayRun
from limbeck.evaluation.best import Best, held
from limbeck.inference import BiEncoder
from limbeck.progress import Step
from limbeck.scores.keys import ID
from limbeck.search.backend import Backend, built, folder
from limbeck.search.shards import Store
from limbeck.types import Ranking, Run, order

_FEWER = "set a smaller depth"


def search(
    backend: Backend,
    ranker: BiEncoder,
    query_ids: Sequence[str],
    queries: Rows,
    store: Store,
    depth: int,
    *,
    shards: Sequence[int] | None = None,
) -> Run:
    """Rank the documents of a store for each query.

    Parameters
    ----------
    backend
        Finds the documents.
    ranker
        The ranker that encoded the store.
    query_ids
        Ids of the queries.
    queries
        Their encodings, on the device of the search.
    store
        The store.
    depth
        Documents kept for each query.
    shards
        Search only these; None searches all.

    Raises
    ------
    ConfigError
        The backend's index of this store is not built, or it cannot search single shards; or a query's encoding is NaN
        or infinite.
    """
    _check_finite(query_ids, queries)
    if not built(backend, store):
        raise ConfigError(
            f"index: {store.path} has no {backend.name} index of these options; build it by the limbeck index command "
            f"of this folder with backend={backend.name}"
        )
    if shards is not None and not backend.by_shard:
        raise ConfigError(f"shard: backend={backend.name} is one structure with these options; search without shard=…")
    if backend.name == "exact" and store.kind != "sparse":  # other backends may find fewer
        needed = held(len(query_ids), depth, store.documents)
        room.check_memory(needed, f"keeping the best {depth:,} documents of {len(query_ids):,} queries", _FEWER)
    best = Best(len(query_ids), depth, store.names)
    with torch.inference_mode():
        chosen = range(len(store)) if shards is None else shards
        backend.search(ranker, queries, store, folder(backend, store), best, chosen)
    return ArrayRun.of(zip(query_ids, best.rankings(), strict=True))


def rerank(
    ranker: BiEncoder,
    query_ids: Sequence[str],
    queries: Rows,
    store: Store,
    candidates: Run,
    *,
    shards: Sequence[int] | None = None,
) -> Run:
    """Re-rank candidates with the encodings of a store, exactly; no document is encoded.

    Parameters
    ----------
    ranker
        The ranker that encoded the store.
    query_ids
        Ids of the queries.
    queries
        Their encodings.
    store
        Holds the documents; shards without candidates are not read.
    candidates
        First-stage run, cut to the wanted depth.
    shards
        Score only candidates in these; None scores all.

    Raises
    ------
    ConfigError
        Candidates are not in the store (the message names one), or a query's encoding is NaN or infinite.
    """
    _check_finite(query_ids, queries)
    asked = ArrayRun.of((query, candidates[query]) for query in query_ids if query in candidates)
    if not len(asked):
        return asked
    known = set(asked)
    there = np.array([number for number, query in enumerate(query_ids) if query in known])
    lines = np.repeat(there, asked.lengths())
    rows = _rows(store, asked, shards)
    scores = np.zeros(len(rows), np.float32)
    by_row = np.argsort(rows, kind="stable")
    with Step("re-ranking", int(np.count_nonzero(rows >= 0)), "pairs", part=True) as step:
        for number in range(len(store)) if shards is None else shards:
            start = number * store.shard_size
            here = by_row[slice(*np.searchsorted(rows, (start, start + store.shard_size), sorter=by_row))]
            if len(here):
                scores[here] = pairwise(ranker, queries, store.shard(number).rows, lines[here], rows[here] - start)
                step.advance(len(here))
    if shards is None and (rows < 0).any():
        _refuse({name for name, row in zip(asked.each_document(), rows, strict=True) if row < 0}, store)

    def ranked() -> Iterator[tuple[str, Ranking]]:
        start = 0
        for query, (ids, _) in asked.items():
            here = slice(start, start + len(ids))
            found = rows[here] >= 0
            yield query, order(list(compress(ids, found)), scores[here][found])
            start += len(ids)

    return ArrayRun.of(ranked())


def _rows(store: Store, run: ArrayRun, shards: Sequence[int] | None) -> NDArray[np.int64]:
    """Return the rows of a run's documents in a store; -1 for documents that are not in these shards."""
    columns = [column.cast(ID) for column in run.documents()]  # also for files of earlier versions
    documents = pa.chunked_array(columns, type=ID).dictionary_encode().combine_chunks()
    numbers = {name: number for number, name in enumerate(documents.dictionary.to_pylist())}
    rows = np.full(len(numbers), -1)
    for shard in store.shards(shards):
        for row, name in enumerate(shard.ids.all(), shard.start):
            if name in numbers:
                rows[numbers[name]] = row
    return rows[documents.indices.to_numpy()]


def check_found(candidates: Iterable[tuple[str, Ranking]], found: Run, store: Store) -> None:
    """Raise ``ConfigError`` if candidates were not found in a store; the message names one."""
    lacking: set[str] = set()
    for query, ranking in candidates:
        there = found.get(query)
        lacking |= set(ranking.ids).difference(() if there is None else there.ids)
    _refuse(lacking, store)


def _refuse(lacking: set[str], store: Store) -> None:
    if lacking:
        raise ConfigError(
            f"candidates: document {min(lacking)!r} is not in the index {store.path} ({len(lacking)} such documents): "
            "they belong to another collection"
        )


def _check_finite(query_ids: Sequence[str], queries: Rows) -> None:
    row = not_finite(queries)
    if row is not None:
        raise ConfigError(f"student: its encoding of query {query_ids[row]!r} is no finite number; look at its weights")
