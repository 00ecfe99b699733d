"""Exact search: every document is compared with every query."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from limbeck.compare import products
from limbeck.encodings import Kind, Rows
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder
from limbeck.registry import register
from limbeck.search.backend import Searching
from limbeck.search.shards import Store

_QUERIES = 256
"""Queries compared with a shard at once: so small a matrix reuses memory, which need not be cleared."""


@register("backend", "exact")
class Exact:
    """Exact search of encodings of any kind, shard by shard, on the processor or a GPU; nothing is built."""

    name: ClassVar[str] = "exact"
    kinds: ClassVar[tuple[Kind, ...]] = ("dense", "sparse", "multi")
    by_shard: ClassVar[bool] = True

    def structure(self) -> dict[str, Any] | None:
        """Build nothing."""
        return None

    def check(self) -> None:
        """Nothing is needed."""

    def build(self, store: Store, folder: Path) -> None:
        """Build nothing."""

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Score each shard's documents with the ranker's ``similarity``."""
        del folder
        device = queries.arrays()["values"].device
        with Searching(self.name, len(queries), shards) as step:
            for shard in store.shards(shards):
                documents = shard.rows.to(device).float()
                for start in range(0, len(queries), _QUERIES):
                    scores = products(ranker, queries.part(start, start + _QUERIES), documents)
                    best.offer(scores, start, shard.start, positive=queries.kind == "sparse")  # 0: no common word
                    step.searched(len(scores))
