"""The figures of a report, computed from the measures of the lists."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.data.pool import Pool
from limbeck.inspection.entropy import Softmax
from limbeck.inspection.losses import LossView
from limbeck.inspection.measures import CUTOFFS, Measures
from limbeck.inspection.seen import known

HARDEST = 10
"""Number of queries listed by name."""

_ONE_HOT, _FLAT = 0.99, 0.99
_POINTS = 121


def summarise(pool: Pool, measures: Measures, objective: Sequence[LossView]) -> dict[str, Any]:
    """Return the figures as plain containers; None where there are no values.

    Parameters
    ----------
    pool
        Pool with scores.
    measures
        Measures of its lists.
    objective
        How the losses read the scores; gives the temperatures.
    """
    assert pool.scores is not None
    finite = pool.scores[np.isfinite(pool.scores)]
    missing = np.isnan(pool.scores)
    per_query = np.add.reduceat(missing.astype(np.int64), pool.offsets[:-1])
    lengths = np.diff(pool.offsets)
    several = measures.scored >= 2
    return {
        "queries": len(pool),
        "queries_measured": len(measures.queries),
        "pairs": len(pool.labels),
        "documents_per_list": float(np.median(lengths)),
        "missing": {
            "pairs": int(missing.sum()),
            "share": float(missing.mean()),
            "positives": int((missing & (pool.labels > 0)).sum()),
            "queries_that_lack_some": int((per_query > 0).sum()),
            "queries_that_lack_all": int((per_query == lengths).sum()),
        },
        "infinite": int(np.isinf(pool.scores).sum()),
        "scores": _quantiles(finite, {"minimum": 0.0, "median": 0.5, "maximum": 1.0}),
        "spread": {
            "std": _quartiles(measures.std[several]),
            "range": _quartiles(measures.spread[several]),
            "constant_lists": _mean((measures.minimum == measures.maximum)[several]),
            "tied_scores": _mean(measures.tied[several]),
        },
        "positives": _positives(measures),
        "agreement": {
            "spearman": _mean(measures.spearman),
            "same_order": _mean(measures.same_order),
            "overlap": dict(zip(map(str, CUTOFFS), map(_mean, measures.overlap.T), strict=True)),
        },
        "entropy": _entropy(pool, objective),
    }


def hardest(pool: Pool, measures: Measures) -> list[dict[str, Any]]:
    """Return the queries whose best positive has the lowest rank by the teacher, worst first."""
    ranked = np.flatnonzero(~np.isnan(measures.teacher_rank))
    worst = ranked[np.argsort(-measures.teacher_rank[ranked], kind="stable")][:HARDEST]
    return [
        {
            "query": pool.query_ids[measures.queries[i]],
            "documents": int(measures.scored[i]),
            "teacher_rank": int(measures.teacher_rank[i]),
            "first_stage_rank": _number(float(measures.first_stage_rank[i])),
            "minimum": float(measures.minimum[i]),
            "maximum": float(measures.maximum[i]),
        }
        for i in worst.tolist()
    ]


def _positives(measures: Measures) -> dict[str, Any]:
    teacher, first_stage = measures.teacher_rank, measures.first_stage_rank
    ranked = ~np.isnan(teacher)
    both = ranked & ~np.isnan(first_stage)
    return {
        "queries": int(ranked.sum()),
        "first_by_teacher": _mean((teacher == 1)[ranked]),
        "first_by_first_stage": _mean((first_stage == 1)[both]),
        "first_by_chance": _mean(measures.chance[ranked]),
        "reciprocal_rank_teacher": _mean(1 / teacher),
        "reciprocal_rank_first_stage": _mean(1 / first_stage),
        "higher_by_teacher": _mean((teacher < first_stage)[both]),
        "higher_by_first_stage": _mean((teacher > first_stage)[both]),
    }


def _entropy(pool: Pool, objective: Sequence[LossView]) -> dict[str, Any] | None:
    softmax = Softmax(pool)
    if not len(softmax):
        return None
    proposed = softmax.temperature()
    configured = {view.name: view.teacher_temperature for view in objective if view.teacher_temperature is not None}
    lowest = min(proposed / 30, *(temperature / 3 for temperature in configured.values()), proposed)
    highest = max(proposed * 30, *(temperature * 3 for temperature in configured.values()), proposed)
    curve = np.geomspace(lowest, highest, _POINTS)
    distributions = [softmax.at(float(temperature)).entropy for temperature in curve]
    return {
        "lists": len(softmax),
        "proposed_temperature": proposed,
        "configured": {name: {"temperature": value, **_at(softmax, value)} for name, value in configured.items()},
        "curve": {
            "temperature": curve.tolist(),
            **{
                name: [float(np.quantile(entropy, q)) for entropy in distributions]
                for name, q in (("lower_quartile", 0.25), ("median", 0.5), ("upper_quartile", 0.75))
            },
        },
    }


def _at(softmax: Softmax, temperature: float) -> dict[str, float]:
    distribution = softmax.at(temperature)
    return {
        "median_entropy": distribution.median,
        "one_hot_lists": float((distribution.largest >= _ONE_HOT).mean()),
        "flat_lists": float((distribution.entropy >= _FLAT).mean()),
    }


def _quartiles(values: np.ndarray) -> dict[str, float | None]:
    return _quantiles(values, {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75})


def _quantiles(values: np.ndarray, wanted: dict[str, float]) -> dict[str, float | None]:
    values = known(values)
    return {name: float(np.quantile(values, q)) if len(values) else None for name, q in wanted.items()}


def _mean(values: np.ndarray) -> float | None:
    values = known(np.asarray(values, dtype=np.float64))
    return float(values.mean()) if len(values) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
