"""From encoded queries and a store to a run: search by a backend, or re-ranking of a first stage."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck import room
from limbeck.compare import pairwise
from limbeck.config import ConfigError
from limbeck.encodings import Rows, not_finite
from limbeck.evaluation.best import Best, held
from limbeck.inference import BiEncoder
from limbeck.plan import Plan
from limbeck.progress import Step
from limbeck.search.backend import Backend, built, folder
from limbeck.search.shards import Store
from limbeck.types import Run, order

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
        Finds them.
    ranker
        What encoded the store.
    query_ids, queries
        Ids and their encodings, on the device to search on.
    store, depth
        Where to search, and the documents kept for each query.
    shards
        Search these alone; None searches all.

    Raises
    ------
    ConfigError
        The backend has not been built on this store, or cannot search shards apart; or a query's encoding is NaN or
        infinite.
    """
    _check_finite(query_ids, queries)
    if not built(backend, store):
        raise ConfigError(
            f"index: {store.path} has no {backend.name} index of these options; build it by the limbeck index command "
            f"of this folder with backend={backend.name}"
        )
    if shards is not None and not backend.by_shard:
        raise ConfigError(f"shard: backend={backend.name} is one structure with these options; search without shard=…")
    if backend.name == "exact" and store.kind != "sparse":  # others may find fewer
        needed = held(len(query_ids), depth, store.documents)
        room.check_memory(needed, f"keeping the best {depth:,} documents of {len(query_ids):,} queries", _FEWER)
    best = Best(len(query_ids), depth, store.names)
    with torch.inference_mode():
        chosen = range(len(store)) if shards is None else shards
        backend.search(ranker, queries, store, folder(backend, store), best, chosen)
    return dict(zip(query_ids, best.rankings(), strict=True))


def rerank(
    ranker: BiEncoder,
    query_ids: Sequence[str],
    queries: Rows,
    store: Store,
    candidates: Run,
    *,
    shards: Sequence[int] | None = None,
) -> Run:
    """Re-rank candidates by the encodings of a store, exactly; no document is encoded.

    Parameters
    ----------
    ranker
        What encoded the store.
    query_ids, queries
        Ids and their encodings.
    store
        Holds the documents; shards without a candidate are not read.
    candidates
        First-stage run, already cut to the depth wanted.
    shards
        Score the candidates in these alone; None scores all.

    Raises
    ------
    ConfigError
        Candidates are not in the store; the message names one. Or a query's encoding is NaN or infinite.
    """
    _check_finite(query_ids, queries)
    lists = {query: candidates[query].ids for query in query_ids if query in candidates and candidates[query].ids}
    if not lists:
        return {}
    plan = Plan(lists, by_document=False)
    lines = np.array([number for number, query in enumerate(query_ids) if query in lists])[plan.queries]
    rows = _rows(store, plan.document_ids, shards)[plan.documents]
    scores = np.zeros(plan.pairs, np.float32)
    by_row = np.argsort(rows, kind="stable")
    with Step("re-ranking", int(np.count_nonzero(rows >= 0)), "pairs", part=True) as step:
        for number in range(len(store)) if shards is None else shards:
            start = number * store.shard_size
            here = by_row[slice(*np.searchsorted(rows, (start, start + store.shard_size), sorter=by_row))]
            if len(here):
                scores[here] = pairwise(ranker, queries, store.shard(number).rows, lines[here], rows[here] - start)
                step.advance(len(here))
    found, values = plan.split(rows >= 0), plan.split(scores)
    run = {
        query: order(list(compress(ids, found[query])), values[query][found[query]])
        for query, ids in lists.items()
        if found[query].any()
    }
    if shards is None:
        check_found({query: candidates[query] for query in lists}, run, store)
    return run


def _rows(store: Store, ids: Sequence[str], shards: Sequence[int] | None) -> NDArray[np.int64]:
    """Return the rows of documents in a store; -1 for those that are not in these shards."""
    numbers = {name: number for number, name in enumerate(ids)}
    rows = np.full(len(ids), -1)
    for shard in store.shards(shards):
        for row, name in enumerate(shard.ids.all(), shard.start):
            if name in numbers:
                rows[numbers[name]] = row
    return rows


def check_found(candidates: Run, found: Run, store: Store) -> None:
    """Raise ``ConfigError`` if candidates were not found in a store; the message names one."""
    lacking = {
        document
        for query, ranking in candidates.items()
        for document in set(ranking.ids).difference(found[query].ids if query in found else ())
    }
    if lacking:
        raise ConfigError(
            f"candidates: document {min(lacking)!r} is not in the index {store.path} ({len(lacking)} such documents): "
            "they belong to another collection"
        )


def _check_finite(query_ids: Sequence[str], queries: Rows) -> None:
    row = not_finite(queries)
    if row is not None:
        raise ConfigError(f"student: its encoding of query {query_ids[row]!r} is no finite number; look at its weights")
