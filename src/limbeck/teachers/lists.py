"""Scoring of a plan's parts by teachers that score lists."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from limbeck.plan import Plan

ScoreLists = Callable[[Sequence[str], Sequence[Sequence[str]]], list[np.ndarray]]


def by_lists(score: ScoreLists, plan: Plan) -> Callable[[int], np.ndarray]:
    """Return the function that scores a part of a plan, from a function that scores lists."""

    def part(number: int) -> np.ndarray:
        queries, lists = [], []
        for query, pairs in groupby(zip(*plan.ids(number), strict=True), key=lambda pair: pair[0]):
            queries.append(query)
            lists.append([document for _, document in pairs])
        return np.concatenate(score(queries, lists)).astype(np.float32)

    return part
