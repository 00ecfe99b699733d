"""Reciprocal rank fusion of several first stages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from limbeck.data.candidates import Candidates, Search, check_depth, find, inputs
from limbeck.data.collection import Collection
from limbeck.evaluation.array_run import ArrayRun
from limbeck.evaluation.fusion import reciprocal_rank_fusion
from limbeck.registry import register
from limbeck.types import Ranking, Run

_QUERIES = 256
"""Queries fused at once."""


@register("candidates", "fusion", parts=("parts",))
class Fusion:
    """Candidates of several sources, fused by reciprocal rank.

    Parameters
    ----------
    parts
        Name → candidates, built from the nodes under ``parts``; at least two. Each has its own depth.
    depth
        Documents kept for each query; null keeps all that the parts found.
    k
        Constant of the fusion.
    weights
        Part name → factor, 1 where it is not given. Typed Any, because OmegaConf cannot fill a typed mapping from the
        command line.

    Raises
    ------
    ValueError
        A value is out of range, or a weight names no part.
    """

    kept: ClassVar[bool] = True
    pairs: ClassVar[float] = math.inf

    def __init__(
        self,
        parts: Mapping[str, Candidates],
        *,
        depth: int | None = None,
        k: int = 60,
        weights: Any = None,
    ) -> None:
        check_depth(depth)
        if len(parts) < 2:
            raise ValueError(f"parts must be at least two candidates, got {', '.join(parts) or 'none'}")
        if k < 0:
            raise ValueError(f"k must be >= 0, got {k}")
        weights = dict(weights or {})
        for name, weight in weights.items():
            if name not in parts:
                raise ValueError(f"weights.{name} names no part; the parts are {', '.join(parts)}")
            if not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ValueError(f"weights.{name} must be a number > 0, got {weight!r}")
        self.depth = depth
        self.k = k
        self._found: dict[tuple[Collection, str], list[Run]] = {}
        self._parts = dict(parts)
        self._weights = [float(weights.get(name, 1)) for name in parts]
        self.name = f"RRF({', '.join(part.name for part in parts.values())})"
        self.advice = ""  # the parts warn themselves
        self.label = f"fusion of {' and '.join(part.label for part in parts.values())}"

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the ranking depends on, besides the collection and the queries."""
        shared = ("documents", "queries")
        parts = [
            {key: value for key, value in inputs(part, search).items() if key not in shared}
            for part in self._parts.values()
        ]
        return {"kind": "fusion", "k": self.k, "weights": self._weights, "parts": parts}

    def search(self, search: Search) -> Run:
        """Fuse the rankings of the parts, which are cached, too."""
        runs = self._runs(search)
        queries = list(dict.fromkeys(query for run in runs for query in search.queries if query in run))
        return ArrayRun.of(
            (query, Ranking(ranking.ids[: self.depth], ranking.scores[: self.depth]))
            for start in range(0, len(queries), _QUERIES)
            for query, ranking in self._fused(runs, queries[start : start + _QUERIES]).items()
        )

    def _fused(self, runs: Sequence[Run], queries: Sequence[str]) -> Run:
        some = [{query: run[query] for query in queries if query in run} for run in runs]
        return reciprocal_rank_fusion(some, self._weights, k=self.k)

    def _runs(self, search: Search) -> list[Run]:
        """Return the rankings of the parts for all queries of a split, searched once."""
        key = (search.collection, search.split)
        if key not in self._found:
            whole = replace(search, places=None)
            self._found[key] = [find(part, whole) for part in self._parts.values()]
        return self._found[key]
