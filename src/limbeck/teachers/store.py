"""Score stores as teachers."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from limbeck.registry import register
from limbeck.scores.store import ScoreStore


@register("teacher", "store")
class StoreTeacher:
    """A finished score store.

    Parameters
    ----------
    path
        Folder that ``limbeck score`` or ``limbeck import`` wrote.
    use
        Scores or ranks. Use ``ranks`` if only the order can be trusted (a re-ranking without scores, for example); then
        only losses that read only the teacher's order are allowed. The order is that of the stored ranks, or else of
        the scores.
    missing
        Candidates that are not in the store. ``error``, or ``drop`` them from their lists.

    Raises
    ------
    ConfigError
        The store does not exist or is damaged.
    ValueError
        An option has an unknown value.
    """

    given: ClassVar = ()

    def __init__(
        self, *, path: str, use: Literal["scores", "ranks"] = "scores", missing: Literal["error", "drop"] = "error"
    ) -> None:
        for name, value, choices in (("use", use, ("scores", "ranks")), ("missing", missing, ("error", "drop"))):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        self.store = ScoreStore.open(Path(path).expanduser())
        self.use = use
        self.missing: Literal["error", "drop"] = missing

    @property
    def name(self) -> str:
        """Name of the teacher that computed the scores."""
        return str(self.store.meta["teacher"])

    def identity(self) -> dict[str, Any]:
        """Return everything that the scores depend on."""
        return {"kind": "store", "checksum": self.store.checksum, "use": self.use}

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return float32 scores, or negative ranks: one array per query; NaN for pairs that the store lacks."""
        look = self._scores if self.use == "scores" else self._ranks
        return [look(query, list(documents)) for query, documents in zip(query_ids, lists, strict=True)]

    def column(self, query_ids: Sequence[str], offsets: np.ndarray, documents: pa.Array) -> np.ndarray:
        """Return the same as ``score`` as one column: list i is ``documents[offsets[i]:offsets[i + 1]]``."""
        if self.use == "scores":
            return self.store.lookup_many(query_ids, offsets, documents)
        lists = (documents[start:stop].to_pylist() for start, stop in pairwise(offsets.tolist()))
        return np.concatenate([self._ranks(query, ids) for query, ids in zip(query_ids, lists, strict=True)])

    def _scores(self, query: str, documents: list[str]) -> np.ndarray:
        return self.store.lookup(query, documents).astype(np.float32)

    def _ranks(self, query: str, documents: list[str]) -> np.ndarray:
        try:
            ids, scores, ranks = self.store.ranking(query)
        except KeyError:
            return np.full(len(documents), np.nan, dtype=np.float32)
        # Without ranks, documents of equal score share the best of their ranks, so that they stay tied.
        places = np.searchsorted(-scores, -scores) + 1 if ranks is None else ranks
        order = dict(zip(ids, places.tolist(), strict=True))
        return np.array([-order.get(document, np.nan) for document in documents], dtype=np.float32)
