"""A pool from bare TREC files: a run as the teacher, judgments, and another run as the first stage."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.data.pool import Pool
from limbeck.scores.keys import ID
from limbeck.types import Qrels, Run


@dataclass(frozen=True)
class Bare:
    """A pool and what it could not hold."""

    pool: Pool
    """With scores. Without a first stage all ranks are 0: there is no order to compare with."""
    unlisted: int
    """Judged queries without a list."""
    unjudged: int
    """Queries of the lists without a positive."""
    unfound: int
    """Positives that stand in no list."""


def bare_pool(run: Run, qrels: Qrels, first_stage: Run | None) -> Bare:
    """Put a run where a teacher's scores would be.

    A list holds the documents of the first stage, as in training, and the positives that only the run has, ranked
    behind; without a first stage, the documents of the run.

    Parameters
    ----------
    run, qrels
        The teacher's run and the judgments.
    first_stage
        The candidates that would be trained on, or None.

    Raises
    ------
    ConfigError
        No query has both a list and a positive.
    """
    lists = run if first_stage is None else first_stage
    kept, unfound = [], 0
    queries, documents, labels, ranks, scores = [], [], [], [], []
    for query, ranking in lists.items():
        judged = qrels.get(query, {})
        of = dict(zip(run[query].ids, run[query].scores.tolist(), strict=True)) if query in run else {}
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
    if not kept:
        raise ConfigError("no query of the run has a positive in qrels; are the ids those of the same collection?")
    pool = Pool(
        query_ids=kept,
        offsets=np.concatenate(([0], np.cumsum(queries))),
        document_ids=pa.array(documents, ID),
        labels=np.asarray(labels, dtype=np.int16),
        ranks=np.asarray(ranks if first_stage is not None else [0] * len(ranks), dtype=np.int32),
        scores=np.asarray(scores, dtype=np.float32),
    )
    return Bare(pool, sum(1 for query in qrels if query not in lists), len(lists) - len(kept), unfound)
