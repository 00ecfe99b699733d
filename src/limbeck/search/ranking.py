"""From encoded queries and a store to a run: search by a backend, or re-ranking of a first stage."""

from collections.abc import Sequence

import numpy as np
import torch

from limbeck.config import ConfigError
from limbeck.encodings import Rows, not_finite, reorder
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder, products
from limbeck.search.backend import Backend, built, folder
from limbeck.search.shards import Store
from limbeck.types import Run, order

_COLUMNS = 256
"""Documents compared at once with all queries that have one of them."""


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
    wanted: dict[str, list[int]] = {}
    for number, query in enumerate(query_ids):
        for document in candidates[query].ids if query in candidates else []:
            wanted.setdefault(document, []).append(number)
    ids: list[list[str]] = [[] for _ in query_ids]
    scores: list[list[float]] = [[] for _ in query_ids]
    for shard in store.shards(shards):
        found = [(row, document) for row, document in enumerate(shard.ids.all()) if document in wanted]
        for start in range(0, len(found), _COLUMNS):
            here = found[start : start + _COLUMNS]
            lines = np.unique([number for _, document in here for number in wanted[document]])
            device = queries.arrays()["values"].device
            documents = reorder(shard.rows, torch.tensor([row for row, _ in here])).to(device)
            table = products(ranker, reorder(queries, torch.from_numpy(lines).to(device)), documents).cpu().numpy()
            place = {number: line for line, number in enumerate(lines.tolist())}
            for column, (_, document) in enumerate(here):
                for number in wanted[document]:
                    ids[number].append(document)
                    scores[number].append(table[place[number], column])
    ranked = zip(query_ids, ids, scores, strict=True)
    run = {query: order(names, np.array(values, dtype=np.float32)) for query, names, values in ranked if names}
    if shards is None:
        check_found({query: candidates[query] for query in query_ids if query in candidates}, run, store)
    return run


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
