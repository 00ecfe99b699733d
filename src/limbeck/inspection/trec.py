"""Build a pool from TREC files: a run as the teacher, judgments, and another run as the first stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.data.pool import Pool, join
from limbeck.scores.keys import ID
from limbeck.types import Qrels, Ranking, Run

_QUERIES = 2000
"""Queries whose documents are Python objects at the same time."""


@dataclass(frozen=True)
class Bare:
    """A pool, and the numbers of queries and positives left out."""

    pool: Pool
    """The pool with scores. Without a first stage all ranks are 0: there is no order to compare with."""
    unlisted: int
    """Number of judged queries without a list."""
    unjudged: int
    """Number of queries with a list but no positive."""
    unfound: int
    """Number of positives in no list."""


def bare_pool(run: Run, qrels: Qrels, first_stage: Run | None) -> Bare:
    """Build a pool with a run's scores as teacher scores.

    A list has the documents of the first stage, as in training, and after them the positives that only the run has;
    without a first stage, it has the documents of the run.

    Parameters
    ----------
    run
        The teacher's run.
    qrels
        Judgments.
    first_stage
        The candidates that would be trained on, or None.

    Raises
    ------
    ConfigError
        No query has both a list and a positive.
    """
    lists = run if first_stage is None else first_stage
    pools, unfound, rankings = [], 0, iter(lists.items())
    while block := list(islice(rankings, _QUERIES)):
        pool, more = _pool(block, run, qrels, ranked=first_stage is not None)
        pools.append(pool)
        unfound += more
    pool = join(pools) if pools else _pool([], run, qrels, ranked=False)[0]
    if not len(pool):
        raise ConfigError("no query of the run has a positive in qrels; are the ids those of the same collection?")
    return Bare(pool, sum(1 for query in qrels if query not in lists), len(lists) - len(pool), unfound)


def _pool(block: Sequence[tuple[str, Ranking]], run: Run, qrels: Qrels, *, ranked: bool) -> tuple[Pool, int]:
    """Return the pool of some queries, and the number of positives in no list."""
    kept, unfound = [], 0
    queries, documents, labels, ranks, scores = [], [], [], [], []
    for query, ranking in block:
        judged = qrels.get(query, {})
        theirs = run.get(query)
        of = {} if theirs is None else dict(zip(theirs.ids, theirs.scores.tolist(), strict=True))
        rank = {document: place for place, document in enumerate(ranking.ids, 1)}
        positives = [document for document, grade in judged.items() if grade > 0]
        found = [document for document in positives if document in rank or document in of]
        unfound += len(positives) - len(found)
        if not found:
            continue
        listed = [*found, *(document for document in ranking.ids if judged.get(document, 0) <= 0)]
        kept.append(query)
        queries.append(len(listed))
        documents += listed
        labels += [judged[document] for document in found] + [0] * (len(listed) - len(found))
        ranks += [rank.get(document, len(rank) + 1) for document in listed]
        scores += [of.get(document, np.nan) for document in listed]
    pool = Pool(
        query_ids=kept,
        offsets=np.cumsum([0, *queries]),
        document_ids=pa.array(documents, ID),
        labels=np.asarray(labels, dtype=np.int16),
        ranks=np.asarray(ranks if ranked else [0] * len(ranks), dtype=np.int32),
        scores=np.asarray(scores, dtype=np.float32),
    )
    return pool, unfound
