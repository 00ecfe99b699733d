"""Search several vectors per text with PLAID."""

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
"""Largest difference of a vector's length from 1, larger than float16 rounding."""

_CENTROIDS_ALONE = 4
"""Documents that fast-plaid scores by centroids only, for each one that it scores by vectors."""

_SIZES = "sizes.json"
"""File with the sizes of fast-plaid's files: fast-plaid would read damaged ones as an empty index."""


@register("backend", "plaid")
class Plaid:
    """Late interaction with PLAID, by the package fast-plaid: centroids and quantised residuals.

    Approximate: only documents near the query's centroids are scored, so that fewer documents than wanted may be found;
    vectors are reconstructed from few bits, and scores are float16 times the ranker's scale.

    Parameters
    ----------
    bits
        Bits per component of a residual: 1, 2, 4 or 8.
    probe
        Centroids searched for each query vector; all of them if there are fewer.
    scored
        Documents per query that are scored by their quantised vectors, chosen from four times as many by centroids
        only; at least as many as are wanted.

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
        """Return the options on which the quantised vectors depend."""
        return {"bits": self.bits}

    def check(self) -> None:
        """Raise ``ConfigError`` if fast-plaid is not installed, or is built for another torch."""
        _import()

    def build(self, store: Store, folder: Path) -> None:
        """Train centroids on a sample of the documents and quantise all, read from the memory-mapped shards.

        Raises
        ------
        ConfigError
            PLAID cannot store these vectors; the message says why.
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
        # Each vector is compared with all centroids: 16 times the root of the vectors' number, as in ColBERTv2.
        announce(f"PLAID of {store.path}", vectors, round(16 * vectors**0.5), store.shard(0).rows.width)
        try:
            index = _import().FastPlaid(str(folder / "plaid"), device="cpu")
            index.create(documents, nbits=self.bits, start_from_scratch=0)  # else it stores a pickle of all vectors
        except RuntimeError as error:
            raise _refused(f"could not be built of {len(documents)} documents ({error})") from error
        write_json(folder / _SIZES, _sizes(folder))

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Score with the ranker's scale and PLAID's approximate MaxSim."""
        del shards  # there is only one structure
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
    """Raise ``ConfigError`` if a file is missing or has another size than when it was built."""
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
    """Raise ``ConfigError`` for vectors on which the package would end the process, or that it would score wrongly."""
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
    # It is compiled for one version of torch, and ends the process with any other.
    built_for = next((word.partition("==")[2] for word in needs if word.startswith("torch==")), None)
    installed = torch.__version__.partition("+")[0]
    if built_for is not None and built_for != installed:
        raise ConfigError(
            f"backend=plaid: the installed fast-plaid is built for torch {built_for}, and torch is {installed}; "
            f"install torch=={built_for}, or choose backend=exact"
        )
    from fast_plaid import search  # pyright: ignore[reportMissingImports]

    return search
