"""Metrics per query, by ranx, with ties broken as trec_eval does."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.types import Qrels, Run, order

PerQuery = dict[str, dict[str, float]]
"""Metric → query id → value."""


def check_metrics(metrics: Sequence[str]) -> None:
    """Raise ``ValueError`` for a metric that ranx does not have, before anything is computed."""
    from ranx.metrics import metric_switch

    for metric in metrics:
        name, _, cutoff = metric.partition("@")
        try:
            metric_switch(name)
        except ValueError:
            raise ValueError(
                f"metrics has {metric!r}, which ranx does not know; try ndcg@10, mrr@10, recall@100"
            ) from None
        if cutoff and not cutoff.isdigit():
            raise ValueError(f"metrics has {metric!r}; the cut-off behind @ must be a whole number")


def evaluate(qrels: Qrels, run: Run, metrics: Sequence[str]) -> PerQuery:
    """Return each metric of each judged query.

    A judged query without results counts as 0; a query that is not judged is left out. Gains are linear, as in
    trec_eval's ndcg.

    Parameters
    ----------
    qrels, run
        Judgments and rankings.
    metrics
        ranx names: ``ndcg@10``, ``mrr@10``, ``recall@100``, ``map``, …

    Raises
    ------
    ValueError
        A score is NaN or infinite (query and document are named), or no query has judgments.
    """
    import ranx

    if not qrels:
        raise ValueError("there are no judged queries to evaluate")
    ranked: dict[str, dict[str, float]] = {}
    for query in qrels:
        if query not in run or not run[query].ids:
            continue
        ids, scores = run[query]
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            raise ValueError(f"the score of document {ids[wrong[0]]} for query {query} is {scores[wrong[0]]}")
        # ranx sorts ties in no stable way: we order them ourselves and hand it strictly falling whole numbers.
        ranked[query] = {document: float(len(ids) - i) for i, document in enumerate(order(ids, scores).ids)}
    result: PerQuery = {metric: dict.fromkeys(qrels, 0.0) for metric in metrics}
    if ranked:
        judged = ranx.Qrels({query: qrels[query] for query in ranked})
        values: Any = ranx.evaluate(judged, ranx.Run(ranked), list(metrics), return_mean=False)
        by_metric = values if isinstance(values, dict) else {metrics[0]: values}
        # ranx keeps queries in the order of the qrels it was given.
        for metric in metrics:
            result[metric].update(zip(judged.keys(), map(float, by_metric[metric]), strict=True))
    return result


def means(per_query: PerQuery) -> dict[str, float]:
    """Average each metric over the queries."""
    return {metric: float(np.mean(list(values.values()))) for metric, values in per_query.items()}
