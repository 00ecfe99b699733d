"""Fuse rankings by reciprocal ranks, or by a weighted sum of normalised scores."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import numpy as np

from limbeck.registry import register
from limbeck.types import Run, order

Normalisation = Literal["none", "min_max", "z"]
NORMALISATIONS = ("none", "min_max", "z")


def reciprocal_rank_fusion(runs: Sequence[Run], weights: Sequence[float] | None = None, *, k: int = 60) -> Run:
    r"""Fuse rankings by the sum of their reciprocal ranks.

    ```math
    s(q, d) = \sum_i \frac{w_i}{k + rank_i(q, d)}
    ```

    over the rankings that contain the document; ranks are 1-based.

    Parameters
    ----------
    runs
        Rankings to fuse; of the scores only the order matters. A query may be absent from some.
    weights
        w, one per run; None weighs all by 1.
    k
        The larger, the less the first ranks stand out; 60 in the paper.

    Returns
    -------
    Run
        All documents of all rankings; queries in order of first appearance.

    References
    ----------
    Cormack, Clarke and Büttcher, Reciprocal rank fusion outperforms Condorcet and individual rank learning methods,
    SIGIR 2009.
    """
    weights = [1.0] * len(runs) if weights is None else weights
    shares: dict[str, dict[str, list[float]]] = {}
    for run, weight in zip(runs, weights, strict=True):
        for query, ranking in run.items():
            of_query = shares.setdefault(query, {})
            for rank, document in enumerate(ranking.ids, 1):
                of_query.setdefault(document, []).append(weight / (k + rank))
    return _summed(shares)


def weighted_sum(
    runs: Sequence[Run], weights: Sequence[float] | None = None, *, normalise: Normalisation = "min_max"
) -> Run:
    r"""Fuse rankings by the weighted sum of their normalised scores.

    ```math
    s(q, d) = \sum_i w_i \, n_i(q, d)
    ```

    where, over the documents of ranking i for the query, n is the score itself (``none``), $`(s - \min) / (\max -
    \min)`$ (``min_max``) or $`(s - mean) / std`$ (``z``); 0 where all scores are equal. A document that a ranking of
    the query lacks gets the lowest n of that ranking, as it scored no better.

    Parameters
    ----------
    runs
        Rankings to fuse. A query may be absent from some, which then do not contribute to it.
    weights
        w, one per run; None weighs all by 1.
    normalise
        How the scores of different systems are made comparable.

    Returns
    -------
    Run
        All documents of all rankings; queries in order of first appearance.

    References
    ----------
    Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023.
    """
    weights = [1.0] * len(runs) if weights is None else weights
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for query, ranking in run.items():
            found.setdefault(query, {}).update((document, []) for document in ranking.ids)
    for run, weight in zip(runs, weights, strict=True):
        for query, ranking in run.items():
            if not ranking.ids:
                continue
            values = weight * _normalised(ranking.scores, normalise)
            own = dict(zip(ranking.ids, values.tolist(), strict=True))
            lowest = min(own.values())
            for document, share in found[query].items():
                share.append(own.get(document, lowest))
    return _summed(found)


def _normalised(scores: np.ndarray, how: Normalisation) -> np.ndarray:
    scores = scores.astype(np.float64)
    if how == "none":
        return scores
    low, high = scores.min(), scores.max()
    if low == high:
        return np.zeros_like(scores)
    return (scores - low) / (high - low) if how == "min_max" else (scores - scores.mean()) / scores.std()


def _summed(shares: dict[str, dict[str, list[float]]]) -> Run:
    """Rank by exact sums: documents with the same terms in another order tie, and ids break the tie."""
    return {
        query: order(list(found), np.array([math.fsum(each) for each in found.values()]))
        for query, found in shares.items()
    }


class Fusion(Protocol):
    """A way to fuse two rankings."""

    label: ClassVar[str]
    """Name in tables."""

    def __call__(self, first: Run, second: Run, /) -> Run:
        """Fuse the first stage with another ranking."""
        ...


@register("fusion", "rrf")
class ReciprocalRankFusion:
    """Fuses two rankings with ``reciprocal_rank_fusion``.

    Parameters
    ----------
    k
        Constant of the fusion.
    weights
        Weights of the first stage and of the other ranking.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    label: ClassVar[str] = "RRF"

    def __init__(
        self,
        *,
        k: int = 60,
        weights: list[float] = [1.0, 1.0],  # noqa: B006 - read as schema, never changed
    ) -> None:
        if k < 0:
            raise ValueError(f"k must be >= 0, got {k}")
        _check_weights(weights)
        self.k = k
        self.weights = list(weights)

    def __call__(self, first: Run, second: Run) -> Run:
        """Fuse the first stage with another ranking."""
        return reciprocal_rank_fusion([first, second], self.weights, k=self.k)


@register("fusion", "weighted")
class WeightedSum:
    """Fuses two rankings with ``weighted_sum``.

    Parameters
    ----------
    normalise
        ``none``, ``min_max`` or ``z``: how the scores of the two are made comparable.
    weights
        Weights of the first stage and of the other ranking.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    label: ClassVar[str] = "weighted sum"

    def __init__(
        self,
        *,
        normalise: Literal["none", "min_max", "z"] = "min_max",
        weights: list[float] = [1.0, 1.0],  # noqa: B006 - read as schema, never changed
    ) -> None:
        if normalise not in NORMALISATIONS:
            raise ValueError(f"normalise must be one of {', '.join(NORMALISATIONS)}, got {normalise!r}")
        _check_weights(weights)
        self.normalise: Normalisation = normalise
        self.weights = list(weights)

    def __call__(self, first: Run, second: Run) -> Run:
        """Fuse the first stage with another ranking."""
        return weighted_sum([first, second], self.weights, normalise=self.normalise)


def _check_weights(weights: Sequence[float]) -> None:
    if len(weights) != 2 or not all(0 < weight < math.inf for weight in weights):
        raise ValueError(
            f"weights must be two numbers > 0, for the first stage and for the other ranking, got {list(weights)}"
        )
