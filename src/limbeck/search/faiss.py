"""Search dense vectors with faiss: flat, inverted lists, or a graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from limbeck import room
from limbeck.config import ConfigError
from limbeck.encodings import DTYPES, Kind, Rows
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder
from limbeck.progress import Step
from limbeck.registry import register
from limbeck.search.backend import Searching
from limbeck.search.clustering import announce
from limbeck.search.shards import Shard, Store

_LARGEST = {
    "lists": 2**31 - 1, "probe": 2**31 - 1, "neighbours": 1024, "build_width": 2**31 - 1, "width": 2**31 - 1,
}  # fmt: skip
"""The largest values that faiss can represent; a graph allocates all edges of a node at once."""

_QUERIES = 1024
"""Queries searched in lists or a graph at once."""

_SMALLER = (
    "choose backend=exact, or backend.type=flat, which read one shard after the other, or encode with dtype=float16"
)

_TRAINED_ON = 64
"""Vectors per list used to train the centroids."""


@register("backend", "faiss")
class Faiss:
    """Inner products with faiss, on the processor.

    ``flat`` is exact and reads the shards one at a time; nothing is built. ``ivf`` searches the ``probe`` lists whose
    centroids are nearest to the query, memory-mapped. ``hnsw`` searches a graph, which is in memory with all vectors.

    Parameters
    ----------
    type
        ``flat``, ``ivf`` or ``hnsw``.
    lists, probe
        For ``ivf``: number of lists, null for the square root of the number of documents; and how many of them are
        searched for a query.
    neighbours, build_width, width
        For ``hnsw``: edges per node, and candidates kept while the graph is built and while it is searched (``M``,
        ``efConstruction`` and ``efSearch``).

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Johnson et al., Billion-scale similarity search with GPUs, 2017; Malkov and Yashunin, HNSW, 2018.
    """

    name: ClassVar[str] = "faiss"
    kinds: ClassVar[tuple[Kind, ...]] = ("dense",)

    def __init__(
        self,
        *,
        type: Literal["flat", "ivf", "hnsw"] = "flat",
        lists: int | None = None,
        probe: int = 16,
        neighbours: int = 32,
        build_width: int = 200,
        width: int = 256,
    ) -> None:
        if type not in ("flat", "ivf", "hnsw"):
            raise ValueError(f"type must be flat, ivf or hnsw, got {type!r}")
        sizes = {"lists": lists, "probe": probe, "neighbours": neighbours, "build_width": build_width, "width": width}
        for option, value in sizes.items():
            least = 2 if option == "neighbours" else 1  # with one, faiss ends the process while it builds the graph
            most = _LARGEST[option]
            if value is not None and not least <= value <= most:
                raise ValueError(f"{option} must be >= {least} and <= {most}, got {value}")
        self.type = type
        self.lists = lists
        self.probe = probe
        self.neighbours = neighbours
        self.build_width = build_width
        self.width = width
        self._indexes: dict[Path, Any] = {}

    @property
    def by_shard(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True for ``flat``; the others are one structure."""
        return self.type == "flat"

    def structure(self) -> dict[str, Any] | None:
        """Return the options on which lists or graph depend."""
        if self.type == "flat":
            return None
        if self.type == "ivf":
            return {"type": "ivf", "lists": self.lists}
        return {"type": "hnsw", "neighbours": self.neighbours, "build_width": self.build_width}

    def check(self) -> None:
        """Raise ``ConfigError`` if faiss is not installed."""
        _import()

    def build(self, store: Store, folder: Path) -> None:
        """Write ``index.faiss``."""
        faiss = _import()
        width, documents = store.shard(0).rows.width, store.documents
        memory = self.memory(store, width)
        room.check_memory(memory, f"backend=faiss backend.type={self.type}", _SMALLER)
        vectors = "Flat" if store.identity["dtype"] == "float32" else "SQfp16"
        if self.type == "hnsw":
            index = faiss.index_factory(width, f"HNSW{self.neighbours},{vectors}", faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = self.build_width
        else:
            lists = min(self.lists or max(1, round(documents**0.5)), documents)
            index = faiss.index_factory(width, f"IVF{lists},{vectors}", faiss.METRIC_INNER_PRODUCT)
            if vectors != "Flat":
                index.by_residual = False  # otherwise a vector is rounded again, as the difference from its centroid
            sample = _sample(store, lists * _TRAINED_ON)
            announce(f"faiss lists of {store.path}", len(sample) * index.cp.niter, lists, width)
            index.train(sample)
        with Step(
            f"faiss index of {store.path}", documents, "documents", needs=lambda: room.words(memory=memory)
        ) as step:
            for shard in store.shards():
                index.add(_values(shard))
                step.advance(len(shard.rows))
        faiss.write_index(index, str(folder / "index.faiss"))

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Score with the ranker's scale and faiss's inner products."""
        faiss = _import()
        asked = np.ascontiguousarray(queries.arrays()["values"].float().cpu().numpy())
        if self.type == "flat":
            with Searching(self.name, len(asked), shards) as step:
                for shard in store.shards(shards):
                    # One more than wanted: if it ties with the last place, ids decide.
                    wanted = min(best.depth + 1, len(shard.rows))
                    found = faiss.knn(asked, _values(shard), wanted, metric=faiss.METRIC_INNER_PRODUCT)
                    _show(best, *found, rows_from=shard.start, scale=ranker.scale)
                    step.searched(len(asked))
            return
        if self.type == "hnsw" and folder not in self._indexes:
            memory = self.memory(store, asked.shape[1])
            room.check_memory(memory, f"backend=faiss backend.type={self.type}", _SMALLER)
        index = self._opened(folder)
        if self.type == "ivf":
            index.nprobe = min(self.probe, index.nlist)
        else:
            index.hnsw.efSearch = max(self.width, best.depth)
        depth = min(best.depth, store.documents)
        with Step("faiss search", len(asked), "queries", part=True) as step:
            for start in range(0, len(asked), _QUERIES):
                some = asked[start : start + _QUERIES]
                _show(best, *index.search(some, depth), queries_from=start, scale=ranker.scale)
                step.advance(len(some))

    def memory(self, store: Store, width: int) -> int:
        """Return a lower bound of the memory of lists or graph in bytes: vectors, and document numbers or edges."""
        component = DTYPES[store.identity["dtype"]].itemsize
        return store.documents * (component * width + (8 if self.type == "ivf" else 8 * self.neighbours))

    def _opened(self, folder: Path) -> Any:
        """Return the index that ``build`` wrote, read once."""
        if folder not in self._indexes:
            faiss = _import()
            flags = faiss.IO_FLAG_MMAP if self.type == "ivf" else 0
            try:
                self._indexes[folder] = faiss.read_index(str(folder / "index.faiss"), flags)
            except RuntimeError as error:
                last = str(error).strip().split("\n")[-1]
                raise ConfigError(
                    f"{folder} cannot be read ({last}); delete it and run the limbeck index command again"
                ) from None
        return self._indexes[folder]


def _import() -> Any:
    try:
        import faiss
    except ImportError:
        raise ConfigError(
            "backend=faiss needs faiss-cpu: pip install 'limbeck[faiss]', or choose backend=exact"
        ) from None
    return faiss


def _values(shard: Shard) -> np.ndarray:
    return np.ascontiguousarray(shard.rows.arrays()["values"].numpy(), dtype=np.float32)


def _sample(store: Store, count: int) -> np.ndarray:
    """Return a sample of vectors spread over a store, always the same."""
    chosen = np.random.default_rng(0).permutation(store.documents)[:count]
    chosen.sort()
    shards = chosen // store.shard_size
    return np.concatenate([_values(store.shard(n))[chosen[shards == n] % store.shard_size] for n in np.unique(shards)])


def _show(
    best: Best, scores: np.ndarray, rows: np.ndarray, *, scale: float, rows_from: int = 0, queries_from: int = 0
) -> None:
    lines = np.repeat(np.arange(len(rows)) + queries_from, rows.shape[1])
    there = rows.reshape(-1) >= 0  # faiss pads with -1
    values = (scores.reshape(-1)[there] * np.float32(scale)).astype(np.float32)
    best.add(lines[there], rows.reshape(-1)[there] + rows_from, values)
