"""Kinds of scores: the declared kind, what the values look like, and whether the two agree.

| kind | score |
|---|---|
| logit | output of a classifier or regressor before any sigmoid; unbounded |
| logit_difference | logit of yes (or label 1) minus logit of no (or label 0): the log-odds |
| log_probability | ln p, at most 0 |
| probability | a sigmoid, or p(yes), of a single pair; in [0, 1] |
| softmax | a softmax over the list; in [0, 1], and the scores of a query sum to 1 |
| cosine | in [-scale, scale] |
| dot_product | inner product of vectors that are not normalised |
| similarity | any other number of which more is better: MaxSim, BM25, a mean of teachers |
| rank | only the order is the teacher's; the number repeats the rank, or is another system's score |
| unknown | not declared |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np

Kind = Literal[
    "logit",
    "logit_difference",
    "log_probability",
    "probability",
    "softmax",
    "cosine",
    "dot_product",
    "similarity",
    "rank",
    "unknown",
]

KINDS: tuple[str, ...] = get_args(Kind)

_LOGITS = ("logit", "logit_difference")
_BOUNDED = ("probability", "softmax")

_SLACK = 1e-2
"""Relative tolerance of bounds, for rounding to 16 bits."""
_ENOUGH = 100
"""Minimum number of scores for a conclusion."""
_LISTS = 5
"""Minimum number of lists with two or more documents for a conclusion."""
_NEARLY_ALL = 0.9
_WIDE = 0.5
"""Scores in [0, 1] look like probabilities if their range is at least this (an untrained model's scores have a smaller
range). Scores <= 0 look like log-probabilities if the highest is this close to 0 (negative ranks start at -1)."""


@dataclass
class Values:
    """Statistics of scores, updated by ``add``."""

    count: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    lists: int = 0
    """Number of lists with two or more scores."""
    summing: int = 0
    """Number of these lists whose scores are >= 0 and sum to 1."""

    @classmethod
    def of(cls, scores: np.ndarray, starts: np.ndarray | None = None) -> Self:
        """Return the statistics of scores; parameters as in ``add``."""
        values = cls()
        values.add(scores, starts)
        return values

    def add(self, scores: np.ndarray, starts: np.ndarray | None = None) -> None:
        """Add scores.

        Parameters
        ----------
        scores
            (N,) scores; NaN (missing scores) is ignored.
        starts
            Index of the first score of each query; None if the queries are not known.
        """
        present = scores[~np.isnan(scores)]
        if not len(present):
            return
        self.count += len(present)
        self.lowest = min(self.lowest, float(present.min()))
        self.highest = max(self.highest, float(present.max()))
        if starts is not None and len(starts) and self.within_one:
            filled = np.nan_to_num(scores.astype(np.float64))
            sums = np.add.reduceat(filled, starts)
            several = np.add.reduceat((~np.isnan(scores)).astype(np.int64), starts) > 1
            self.lists += int(several.sum())
            self.summing += int((several & (np.abs(sums - 1) <= 1e-3)).sum())

    @property
    def within_one(self) -> bool:
        """Whether all scores are in [0, 1], up to rounding."""
        return self.lowest >= -_SLACK and self.highest <= 1 + _SLACK

    def looks_like(self) -> Kind | None:
        """Return ``softmax``, ``probability`` or ``log_probability`` if the scores look like it, else None."""
        if self.count < _ENOUGH or self.lowest == self.highest:
            return None
        if self.lowest >= 0 and self.within_one:
            if self.lists >= _LISTS and self.summing >= _NEARLY_ALL * self.lists:
                return "softmax"
            return "probability" if self.highest - self.lowest >= _WIDE else None
        return "log_probability" if -_WIDE <= self.highest <= 0 else None

    def notes(self) -> dict[str, Any]:
        """Return the entry for a store's ``meta.json``."""
        return {"lowest": self.lowest, "highest": self.highest, "look_like": self.looks_like()}


def impossible(kind: str, scale: float | None, values: Values) -> str | None:
    """Return why scores cannot be of the declared kind; None if they can.

    Parameters
    ----------
    kind, scale
        Declared kind and scale: see ``limbeck.scores.writer.Provenance``.
    values
        Statistics of the scores.
    """
    if not values.count:
        return None
    span = f"the scores lie in [{values.lowest:.6g}, {values.highest:.6g}]"
    if kind in _BOUNDED and not values.within_one:
        return f"{span}, and a {kind} lies in [0, 1]"
    if kind == "log_probability" and values.highest > _SLACK:
        return f"{span}, and a log_probability is never above 0"
    bound = scale or 1.0
    if kind == "cosine" and max(-values.lowest, values.highest) > bound * (1 + _SLACK):
        return f"{span}, and a cosine with scale={bound:g} lies in [{-bound:g}, {bound:g}]"
    return None


def doubtful(kind: str, values: Values) -> str | None:
    """Return why scores are probably not of the declared kind; None if there is no evidence.

    Logits that are all in [0, 1] are probably outputs of a sigmoid; probabilities that sum to 1 in each list are
    probably outputs of a softmax.

    Parameters
    ----------
    kind, values
        As in ``impossible``.
    """
    look = values.looks_like()
    span = f"all {values.count:,} lie in [{values.lowest:.6g}, {values.highest:.6g}]"
    if look == "softmax" and kind in (*_LOGITS, "probability"):
        return f"the scores look like a softmax: {span}, and {values.summing:,} of {values.lists:,} lists sum to 1"
    if look == "probability" and kind in _LOGITS:
        return f"the scores look like probabilities, as after a sigmoid: {span}"
    return None


def way_round(values: Values) -> str:
    """Return the remedy for scores that are not of the declared kind."""
    look = values.looks_like()
    say = f"set kind={look} if that is what they are, " if look else "set kind= to what they are, "
    return f"{say}give the teacher's logits, or set kind=similarity for scores without bounds"


def described(meta: Mapping[str, Any]) -> str:
    """Return the kind of scores in words, from a store's ``meta.json``: ``cosine × 20``."""
    kind, scale = str(meta.get("kind") or "unknown").replace("_", " "), meta.get("scale")
    text = kind if scale is None or scale == 1 else f"{kind} × {scale:g}"
    look = (meta.get("values") or {}).get("look_like")
    return f"{text}, and the values look like {look.replace('_', ' ')}" if look and look != meta.get("kind") else text
