"""Encode a collection with a student, and index it."""

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import Config, ConfigError, Node, build, part
from limbeck.data.opening import described
from limbeck.experiment.spread import Share, shards, spread
from limbeck.locks import locked

if TYPE_CHECKING:
    from limbeck.artefacts import Artefacts
    from limbeck.data.collection import Collection
    from limbeck.search.backend import Backend

log = logging.getLogger(__name__)

_INSTEAD = "set dtype=float16, out to a folder on another disk, or take a student with a smaller dimension"


def index(plain: Config) -> None:
    """Encode the documents that the folder lacks, and build the index when all are encoded.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/index.yaml`` as plain containers.
    """
    from limbeck.search.backend import check_kind
    from limbeck.search.shares import share

    count, chosen = shards(plain), share(plain["shard"])
    backend = build(plain["backend"], key="backend")
    student = part(plain["student"], key="student")
    if not student.separable:
        raise ConfigError("student must encode queries and documents apart to be indexed (a dense student does)")
    check_kind(backend, student.kind)
    if count > 1:
        spread(encode_share, plain, Path(plain["out"]), count)
    _index(plain, backend, chosen)


def encode_share(config: Config, share: Share) -> None:
    """Encode the documents of a shard; the process that waits for all shards builds the index."""
    _index(config, None, share)


def _index(config: Config, backend: "Backend | None", share: Share) -> None:
    """Encode a share of the documents; given a backend, the process that completes the encoding builds the index."""
    import torch

    from limbeck.artefacts import Artefacts
    from limbeck.experiment import assemble, emulated
    from limbeck.experiment.own_data import lasting
    from limbeck.search.backend import build as build_index
    from limbeck.search.encoding import encode_into
    from limbeck.search.shards import Store
    from limbeck.students.base import BiEncoder

    artefacts = Artefacts(Path(config["paths"]["cache"]))
    collection = opened(config["data"], artefacts)
    torch.manual_seed(config["seed"])
    model, collator = assemble.ranker(config["student"], config["backbone"], collection, artefacts)
    assert isinstance(model, BiEncoder), "a separable student is a bi-encoder"
    identity = {
        "kind": model.kind,
        "documents": collection.content("document"),
        "weights": model.checksum(),
        "student": config["student"],
        "text": asdict(model.style),
        "dtype": config["dtype"],
        "bf16": config["bf16"],
        "shard_size": config["shard_size"],
    }
    made_from = {
        "data": lasting(config["data"], "collection"),
        "student": config["student"],
        "backbone": lasting(config["backbone"], "model"),
        "seed": config["seed"],
    }
    out = Path(config["out"])
    store = Store.open(out, identity, made_from)
    model.to(device := assemble.device(config["accelerator"]))
    emulated.warn(config, device)
    number, count = share
    with locked(out / f".share-{number + 1}-of-{count}.lock", f"the shards in {out}"):
        done = encode_into(
            store, model, collator, collection.iterate(), count=collection.count("document"),
            instead=_INSTEAD, share=share,
            bf16=config["bf16"],
        )  # fmt: skip
    rate = f": {done.seconds:.1f} s, {done.encoded / done.seconds:.0f} documents/s" if done.encoded else ""
    log.info("%s: encoded %s of %s documents%s", out, f"{done.encoded:,}", f"{done.documents:,}", rate)
    if backend is None:
        return
    if not done.finished:
        log.info("%s: other shards are missing; the process that writes the last one builds the index", out)
        return
    start = time.perf_counter()
    build_index(backend, store)
    store.record(backend=config["backend"])
    seconds = time.perf_counter() - start
    log.info("%s: %s index ready, %.1f s; %.1f MB in all", out, backend.name, seconds, _size(out) / 1e6)


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files without hidden ones, which other processes create and delete."""
    seen = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sum(_size(path) if path.is_dir() else path.stat().st_size for path in seen)


def opened(node: Node, artefacts: "Artefacts") -> "Collection":
    """Open a collection with its splits, without reading its document ids into memory."""
    return described(node).without_absent().open(artefacts)
