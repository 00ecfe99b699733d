"""Search of several vectors a text by PLAID."""

import json
from collections.abc import Sequence
from importlib.metadata import requires
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.encodings import Kind, Rows
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder
from limbeck.progress import Step
from limbeck.registry import register
from limbeck.search.clustering import announce
from limbeck.search.shards import Shard, Store, load, readable

_NEAR_ONE = 0.01
"""What the length of a vector may differ from 1: more than rounding to float16 does."""

_CENTROIDS_ALONE = 4
"""Of so many documents fast-plaid scores all by their centroids, and one by its vectors."""

_SIZES = "sizes.json"
"""File beside those of fast-plaid, with the bytes of each: it reads damaged ones as an index of nothing."""


@register("backend", "plaid")
class Plaid:
    """Late interaction by PLAID, as the package fast-plaid has it: centroids and quantised residuals.

    Approximate: only documents near the query's centroids are looked at, so that fewer than asked for may be found;
    vectors come back from few bits, and scores are float16 times the ranker's scale.

    Parameters
    ----------
    bits
        Bits of each component of a residual: 1, 2, 4 or 8.
    probe
        Centroids that each vector of a query looks into; all of them where there are fewer.
    scored
        Documents a query that are scored by their quantised vectors, chosen from four times as many by centroids alone;
        at least as many as are asked for.

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Santhanam et al., PLAID: An Efficient Engine for Late Interaction Retrieval, CIKM 2022.
    """

    name: ClassVar[str] = "plaid"
    kinds: ClassVar[tuple[Kind, ...]] = ("multi",)
    by_shard: ClassVar[bool] = False

    def __init__(self, *, bits: int = 4, probe: int = 8, scored: int = 1024) -> None:
        if bits not in (1, 2, 4, 8):
            raise ValueError(f"bits must be 1, 2, 4 or 8, got {bits}")
        for option, value in {"probe": probe, "scored": scored}.items():
            if value < 1:
                raise ValueError(f"{option} must be >= 1, got {value}")
        self.bits = bits
        self.probe = probe
        self.scored = scored
        self._indexes: dict[tuple[Path, str], tuple[Any, int]] = {}

    def structure(self) -> dict[str, Any] | None:
        """Return what the quantised vectors depend on."""
        return {"bits": self.bits}

    def check(self) -> None:
        """Raise ``ConfigError`` if fast-plaid is not installed, or is built for another torch."""
        _import()

    def build(self, store: Store, folder: Path) -> None:
        """Train centroids on a sample of the documents and quantise all, read from the mapped shards.

        Raises
        ------
        ConfigError
            PLAID cannot hold these vectors: the message says why.
        """
        documents, vectors = [], 0
        with Step(f"vectors of {store.path}", store.documents, "documents") as step:
            for shard in store.shards():
                _check(store, shard)
                values = shard.rows.arrays()["values"]
                offsets = shard.rows.arrays()["offsets"].tolist()
                documents += [values[start:stop] for start, stop in pairwise(offsets)]
                vectors += len(values)
                step.advance(len(shard.rows))
        # Each is quantised by the nearest centroid, of 16 times the root of their number, as ColBERTv2 has it.
        announce(f"PLAID of {store.path}", vectors, round(16 * vectors**0.5), store.shard(0).rows.width)
        try:
            index = _import().FastPlaid(str(folder / "plaid"), device="cpu")
            index.create(documents, nbits=self.bits, start_from_scratch=0)  # or it keeps a pickle of all vectors
        except RuntimeError as error:
            raise _refused(f"could not be built of {len(documents)} documents ({error})") from error
        write_json(folder / _SIZES, _sizes(folder))

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Score by the ranker's scale and PLAID's approximate MaxSim."""
        del shards  # one structure
        arrays = queries.arrays()
        device = str(arrays["values"].device)
        asked = [arrays["values"][start:stop].float() for start, stop in pairwise(arrays["offsets"].tolist())]
        index, centroids = self._open(folder, device)
        depth = min(best.depth, store.documents)
        found = index.search(
            asked,
            top_k=depth,
            n_ivf_probe=min(self.probe, centroids),
            n_full_scores=_CENTROIDS_ALONE * max(self.scored, depth),
            show_progress=False,
        )
        for number, pairs in enumerate(found):
            rows = np.array([row for row, _ in pairs], dtype=np.int64)
            scores = np.array([score for _, score in pairs], dtype=np.float32) * np.float32(ranker.scale)
            best.add(np.full(len(rows), number), rows, scores)

    def _open(self, folder: Path, device: str) -> tuple[Any, int]:
        """Return the index and the number of its centroids."""
        if (folder, device) not in self._indexes:
            _check_sizes(folder)
            centroids = len(load(folder / "plaid" / "centroids.npy"))
            self._indexes[folder, device] = _import().FastPlaid(str(folder / "plaid"), device=device), centroids
        return self._indexes[folder, device]


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted((folder / "plaid").iterdir())}


def _check_sizes(folder: Path) -> None:
    """Raise ``ConfigError`` if a file is not there or shorter or longer than it was built."""
    with readable(folder):
        built: dict[str, int] = json.loads((folder / _SIZES).read_text(encoding="utf-8"))
        there = _sizes(folder)
        for name, size in built.items():
            if there.get(name) != size:
                raise ValueError(
                    f"{name} had {size:,} bytes and {f'has {there[name]:,}' if name in there else 'is gone'}"
                )


def _refused(reason: str) -> ConfigError:
    return ConfigError(f"backend=plaid {reason}; choose backend=exact")


def _check(store: Store, shard: Shard) -> None:
    """Raise ``ConfigError`` for vectors that the package would end the process for, or score as what they are not."""
    arrays = shard.rows.arrays()
    empty = (arrays["offsets"].diff() == 0).nonzero()
    if len(empty):
        (name,) = store.names(np.array([shard.start + int(empty[0])]))
        raise _refused(f"cannot index document {name!r}, which has no vectors")
    if shard.rows.width % 8:
        raise _refused(f"needs vectors of a multiple of 8 components, student.dimension is {shard.rows.width}")
    lengths = torch.linalg.vector_norm(arrays["values"].float(), dim=-1)
    if (lengths - 1).abs().max() > _NEAR_ONE:
        raise _refused("makes the length of vectors 1, and those of this student are not (student.normalise)")


def _import() -> Any:
    try:
        needs = requires("fast-plaid") or []
    except ImportError:
        raise ConfigError(
            "backend=plaid needs fast-plaid: pip install 'limbeck[plaid]', or choose backend=exact"
        ) from None
    # It is compiled against one torch, and ends the process in any other.
    built_for = next((word.partition("==")[2] for word in needs if word.startswith("torch==")), None)
    installed = torch.__version__.partition("+")[0]
    if built_for is not None and built_for != installed:
        raise ConfigError(
            f"backend=plaid: the installed fast-plaid is built for torch {built_for}, and torch is {installed}; "
            f"install torch=={built_for}, or choose backend=exact"
        )
    from fast_plaid import search  # pyright: ignore[reportMissingImports]

    return search
