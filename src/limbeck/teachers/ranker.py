"""Rankers as teachers: dense encoders and cross-encoders, by folder or hub name."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from limbeck.inference import Ranker, Scorer, score_lists
from limbeck.plan import Plan
from limbeck.registry import register
from limbeck.text.collate import Collator


@register("teacher", "ranker", parts=("student", "backbone"))
class RankerTeacher:
    """Scores candidate lists with a model.

    Parameters
    ----------
    ranker
        The model, built from the teacher's ``student`` and ``backbone``.
    collator
        Its collator, with the tokenizer and the texts.
    bf16
        Score under bfloat16 autocast: faster if the device supports it, but scores tie more often.
    store
        A score store of this model (``limbeck score``): its scores are used, missing ones are computed.
    """

    def __init__(self, ranker: Ranker, collator: Collator, *, bf16: bool = False, store: str | None = None) -> None:
        self.ranker = ranker
        self.collator = collator
        self.bf16 = bf16
        self.store = None if store is None else Path(store).expanduser()

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores: one array per query, in the order of its list."""
        wanted: Mapping[str, Sequence[str]] = dict(zip(query_ids, lists, strict=True))
        scored = score_lists(self.ranker, self.collator, wanted, bf16=self.bf16)
        return [scored.get(query, np.empty(0, dtype=np.float32)) for query in query_ids]

    def plan(self, lists: Mapping[str, Sequence[str]], size: int) -> Plan:
        """Split the scoring of lists into parts of ``size`` documents (bi-encoders) or pairs (cross-encoders)."""
        return Plan(lists, by_document=self.ranker.separable, size=size)

    def scorer(self, plan: Plan) -> Scorer:
        """Return the function that scores a part."""
        return Scorer(self.ranker, self.collator, plan, bf16=self.bf16)
