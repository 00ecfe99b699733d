"""Merge the score stores of several teachers into one: an ensemble without scoring anything again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from limbeck.formats.base import Format, Source, Thunk
from limbeck.formats.faults import Faults
from limbeck.registry import register
from limbeck.scores.ensemble import ensemble, kind_of_mean
from limbeck.scores.store import ScoreStore


@register("format", "score_stores")
class ScoreStores(Format):
    """Weighted mean of the scores of several stores: see ``limbeck.scores.ensemble.ensemble``.

    Parameters
    ----------
    store
        Folder of the store that is being written.
    weights
        One number > 0 for each store; null gives all the same weight.
    standardise
        Bring each teacher's scores to mean 0 and standard deviation 1 first; false for teachers on the same scale.
    missing
        For a pair that not all stores have: ``error``, or ``drop`` it.
    """

    expects = "score stores"

    def __init__(
        self,
        store: Path,
        *,
        weights: list[float] | None = None,
        standardise: bool = True,
        missing: Literal["error", "drop"] = "error",
    ) -> None:
        super().__init__(store)
        if missing not in ("error", "drop"):
            raise ValueError(f"missing must be one of error, drop, got {missing!r}")
        self._weights, self._standardise = weights, standardise
        self._missing: Literal["error", "drop"] = missing
        self._members: list[ScoreStore] = []

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the names of all teachers."""
        self._members = [ScoreStore.open(path.parent) for path in paths]
        kind, self.scale = kind_of_mean(self._members, standardise=self._standardise)
        return Source("ensemble of " + " and ".join(str(each.meta["teacher"]) for each in self._members), kind)

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the merged scores; stores have no malformed lines."""
        del paths, faults
        yield from ensemble(
            self._members, self._weights, standardise=self._standardise, missing=self._missing
        )  # fmt: skip

    def finish(self) -> dict[str, Any]:
        """Return the merged teachers, and the collection if it is the same for all."""
        meta: dict[str, Any] = {
            "members": [
                {"teacher": each.meta["teacher"], "revision": each.meta["revision"], "checksum": each.checksum}
                for each in self._members
            ],
            "weights": self._weights,
            "standardised": self._standardise,
        }
        collections = {each.meta["collection"] for each in self._members}
        meta |= {"collection": collections.pop()} if len(collections) == 1 else {}
        data = self._members[0].meta.get("data")
        return meta | ({"data": data} if data and all(each.meta.get("data") == data for each in self._members) else {})
