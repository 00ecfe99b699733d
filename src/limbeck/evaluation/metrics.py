"""Metrics per query, computed with ranx and equal to those of trec_eval."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, count
from typing import NamedTuple, cast

import numpy as np

from limbeck.evaluation.spelling import Spelt, check_metrics, spelt
from limbeck.progress import reported
from limbeck.rankings import Qrels, Ranking, Run, order

PerQuery = dict[str, dict[str, float]]
"""Metric → query id → value."""


class _Numbered(NamedTuple):
    """One query in ranx's format: documents are numbers, and only judged documents have distinct ones."""

    query: str
    grades: np.ndarray
    """(judged, 2): number and grade of each document, the highest grade first, as ranx expects of judgments."""
    numbers: np.ndarray
    """(depth,) numbers of the ranked documents up to the last relevant one; infinite for unjudged ones."""
    length: int
    """Length of the whole ranking."""

    def ranking(self, length: int) -> np.ndarray:
        """Return (length, 2): numbers of the first documents, with descending scores."""
        ranked = np.full((length, 2), np.inf)  # ranx ignores numbers beyond those of relevant documents
        ranked[: len(self.numbers), 0] = self.numbers
        ranked[:, 1] = np.arange(length, 0, -1)
        return ranked


def evaluate(qrels: Qrels, run: Run, metrics: Sequence[str]) -> PerQuery:
    """Return each metric of each judged query.

    Scores are compared in float32 and ties broken by document id, descending, as in trec_eval. A judged query without
    results counts as 0; a query that is not judged is left out. Grades below 0 count as not judged.

    Parameters
    ----------
    qrels, run
        Judgments and rankings.
    metrics
        ranx names: ``ndcg@10``, ``mrr@10``, ``recall@100``, ``map``, … The lowest grade that counts as relevant is 1,
        or the suffix ``-l``, at the end: ``recall@1000-l2``, ``map-l2``. The gains of ``ndcg`` are the grades,
        as in trec_eval; those of ``ndcg_burges`` are $`2^{grade} - 1`$.

    Returns
    -------
    dict
        Metric → query id → value; queries as in ``qrels``.

    Raises
    ------
    ValueError
        A metric is unknown, a score is NaN or infinite or a document appears twice (the message names query and
        document), or no query has judgments.
    """
    check_metrics(metrics)
    if not qrels:
        raise ValueError("there are no judged queries to evaluate")
    result: PerQuery = {metric: dict.fromkeys(qrels, 0.0) for metric in metrics}
    judged = reported(qrels.items(), len(qrels), "comparing with the judgments", "queries", part=True)
    queries = (_numbered(query, grades, run[query]) for query, grades in judged if query in run)
    found = [each for each in queries if len(each.numbers)]  # without a relevant document every metric is 0
    for metric, values in _by_ranx(found, metrics):
        result[metric].update(values)
    return result


def means(per_query: PerQuery) -> dict[str, float]:
    """Return the mean of each metric over the queries.

    Parameters
    ----------
    per_query
        Metric → query id → value, as ``evaluate`` returns it.
    """
    return {metric: float(np.mean(list(values.values()))) for metric, values in per_query.items()}


def _numbered(query: str, grades: Mapping[str, int], ranking: Ranking) -> _Numbered:
    ids, scores = ranking.ids, np.asarray(ranking.scores, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ValueError(f"the score of document {ids[wrong[0]]} for query {query} is {scores[wrong[0]]}")
    if len(set(ids)) < len(ids):
        twice = next(document for place, document in enumerate(ids) if document in ids[:place])
        raise ValueError(f"document {twice} appears twice for query {query}")
    ids = order(ids, scores).ids
    judged = sorted(((grade, document) for document, grade in grades.items() if grade >= 0), reverse=True)
    relevant = sum(grade > 0 for grade, _ in judged)
    number_of = {document: number for number, (_, document) in enumerate(judged)}
    places = list(compress(count(), map(number_of.__contains__, ids)))
    numbers = np.full(len(ids), np.inf)
    numbers[places] = [number_of[ids[place]] for place in places]
    # Documents after the last relevant one change no metric.
    depth = 1 + max((place for place in places if numbers[place] < relevant), default=-1)
    table = np.array([[number, grade] for number, (grade, _) in enumerate(judged)], dtype=np.float64)
    return _Numbered(query, table, numbers[:depth], len(ids))


def _by_ranx(found: Sequence[_Numbered], metrics: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    if not found:
        return
    from numba.typed.typedlist import List  # a plain list where numba's compiler is off
    from ranx.metrics import metric_switch  # takes two seconds: imported only for an evaluation

    cut = [each.ranking(len(each.numbers)) for each in found]
    for metric in reported(metrics, len(metrics), "evaluating", "metrics", part=True, block=1):
        wanted = spelt(metric)
        asked = [place for place, each in enumerate(found) if each.grades[0, 1] >= wanted.level]
        if not asked:
            continue
        judged = [_judged(found[place], wanted) for place in asked]
        # The length matters only to two metrics; all others are the same for a shorter list.
        whole = wanted.name in ("precision", "f1") and wanted.cutoff is None
        ranked = [found[place].ranking(found[place].length) if whole else cut[place] for place in asked]
        compute = cast(Callable[..., np.ndarray], metric_switch(wanted.name))
        values = compute(List(judged), List(ranked), wanted.persistence or wanted.cutoff or 0, wanted.level)
        yield metric, dict(zip((found[place].query for place in asked), map(float, values), strict=True))


def _judged(each: _Numbered, wanted: Spelt) -> np.ndarray:
    """Return a query's judgments for a metric."""
    grades = each.grades
    if wanted.name == "bpref" and grades[-1, 1] >= wanted.level:
        # ranx divides by the number of non-relevant documents; adding one that is in no ranking changes nothing else.
        grades = np.vstack([grades, [len(grades), 0]])
    return grades


__all__ = ["PerQuery", "check_metrics", "evaluate", "means"]
