"""The kind of number that a score is: what is said of it, what its values show, and whether the two agree.

=================  ===================================================================================================
kind               the number
=================  ===================================================================================================
logit              output of a classifier or regressor before any sigmoid: unbounded
logit_difference   logit of yes (or of label 1) minus that of no (or of label 0): the log-odds
log_probability    ln p, at most 0
probability        a sigmoid, or p(yes): in [0, 1], each pair for itself
softmax            a softmax over the list: in [0, 1], and the scores of a query sum to 1
cosine             in [-scale, scale]
dot_product        inner product of vectors that are not normalised
similarity         any other number of which more is better: MaxSim, BM25, a mean of teachers
rank               the order is the teacher's, the number only repeats it, or is somebody else's
unknown            nobody has said
=================  ===================================================================================================
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
"""How far above its bound rounding to 16 bits may carry a number, relative to the bound."""
_ENOUGH = 100
"""From fewer scores than these nothing is concluded."""
_LISTS = 5
"""From fewer lists of two documents or more than these nothing is concluded."""
_NEARLY_ALL = 0.9
_WIDE = 0.5
"""Scores in [0, 1] look like probabilities if they span this much, since those of an untrained model are closer
together; scores <= 0 look like logarithms of them if one is this near to 0, since ranks with a minus begin at -1."""


@dataclass
class Values:
    """What the values of many scores show; it grows as scores come."""

    count: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    lists: int = 0
    """Lists of two scores or more."""
    summing: int = 0
    """Those of them whose scores are >= 0 and sum to 1."""

    @classmethod
    def of(cls, scores: np.ndarray, starts: np.ndarray | None = None) -> Self:
        """Return the values of scores alone: see ``add``."""
        values = cls()
        values.add(scores, starts)
        return values

    def add(self, scores: np.ndarray, starts: np.ndarray | None = None) -> None:
        """Look at more scores.

        Parameters
        ----------
        scores
            (N,); NaN, where a score is missing, is left out.
        starts
            Where the list of each query begins; None if lists are not known.
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
        """Whether all lie in [0, 1], as far as rounding goes."""
        return self.lowest >= -_SLACK and self.highest <= 1 + _SLACK

    def looks_like(self) -> Kind | None:
        """Return ``softmax``, ``probability`` or ``log_probability`` if the values look so, else None."""
        if self.count < _ENOUGH or self.lowest == self.highest:
            return None
        if self.lowest >= 0 and self.within_one:
            if self.lists >= _LISTS and self.summing >= _NEARLY_ALL * self.lists:
                return "softmax"
            return "probability" if self.highest - self.lowest >= _WIDE else None
        return "log_probability" if -_WIDE <= self.highest <= 0 else None

    def notes(self) -> dict[str, Any]:
        """Return what a store's ``meta.json`` records."""
        return {"lowest": self.lowest, "highest": self.highest, "look_like": self.looks_like()}


def impossible(kind: str, scale: float | None, values: Values) -> str | None:
    """Return why scores cannot be of a kind, or None if they can.

    Parameters
    ----------
    kind, scale
        What is said: see ``limbeck.scores.writer.Provenance``.
    values
        What is seen.
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
    """Return why scores are hardly of a kind, or None if nothing speaks against it.

    Logits that all lie in [0, 1] have been through a sigmoid; probabilities of which each list sums to
    1 have been through a softmax.

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
    """Return what to do about scores of another kind than is said."""
    look = values.looks_like()
    say = f"say kind={look} if that is what they are, " if look else "say of which kind they are with kind=, "
    return f"{say}give the teacher's logits, or say kind=similarity for scores on a scale without bounds"


def described(meta: Mapping[str, Any]) -> str:
    """Return the kind of number in words, from a store's ``meta.json``: ``cosine × 20``."""
    kind, scale = str(meta.get("kind") or "unknown").replace("_", " "), meta.get("scale")
    text = kind if scale is None or scale == 1 else f"{kind} × {scale:g}"
    look = (meta.get("values") or {}).get("look_like")
    return f"{text}, and the values look like {look.replace('_', ' ')}" if look and look != meta.get("kind") else text
