"""Searching: a TREC run from an index, and its evaluation."""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from limbeck.artefacts import Artefacts, write_json
from limbeck.config import Config, ConfigError, Node, build, differences, fingerprint
from limbeck.experiment.index import opened
from limbeck.locks import locked

if TYPE_CHECKING:
    from limbeck.data.candidates import Candidates, Search
    from limbeck.encodings import Rows
    from limbeck.search.backend import Backend
    from limbeck.search.shards import Store
    from limbeck.students.base import BiEncoder
    from limbeck.text.collate import Collator
    from limbeck.types import Run

Result = TypeVar("Result")

log = logging.getLogger(__name__)


def search(plain: Config) -> None:
    """Search, write the run, or a part of it, and evaluate it once it is whole.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/search.yaml`` as plain containers.
    """
    from limbeck.search.shards import Store
    from limbeck.search.shares import share

    out = Path(plain["out"])
    chosen = share(plain["shard"])
    if out.is_dir():
        raise ConfigError(f"out: {out} is a folder; give the file to write: out={out / 'run.trec'}")
    store = Store(Path(plain["index"]))
    if chosen[1] > 1:
        if _is_free(out, plain, shared=True):
            _Searching(plain, store).run(chosen, out)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with _lock(out):
        if _is_free(out, plain, shared=False):
            _Searching(plain, store).run(chosen, out)


def _is_free(out: Path, config: Node, *, shared: bool) -> bool:
    """Return whether the file is to be written; False for a share of a search whose file is there already."""
    if config["force"] or not out.exists():
        return True
    if not shared:
        raise ConfigError(f"out: {out} is there; give another file, or write over it by force=true")
    log.info("%s is there, whole: nothing to do for shard=%s", out, config["shard"])
    return False


class _Searching:
    """One search, whole or shared.

    Parameters
    ----------
    config
        Plain containers.
    store
        The index.
    """

    def __init__(self, config: Node, store: "Store") -> None:
        from limbeck.experiment import assemble
        from limbeck.search.backend import check_kind
        from limbeck.search.encoding import check_ids

        self._config = config
        self._store = store
        self._made = store.meta["made_from"]
        log.info("%s: %s documents", store.path, f"{store.documents:,}")
        device = assemble.device(config["accelerator"])
        node = config.get("backend") or store.meta.get("backend")
        if node is None:
            raise ConfigError(f"{store.path} is not finished; give its limbeck index command again to go on")
        self._node = node
        self._backend: Backend = build(node, key="backend")
        check_kind(self._backend, store.kind)
        first = config.get("candidates")
        self._first: Candidates | None = assemble.candidates(first, device) if first else None
        self._artefacts = Artefacts(Path(config["paths"]["cache"]))
        self._collection = opened(config.get("data") or self._made["data"], self._artefacts)
        self._split = self._collection.split(config["split"])
        self._query_ids = list(self._split.queries)
        check_ids(self._query_ids, "data: the query id")
        self._ranker, self._collator = self._encoder()
        self._ranker.to(device)
        self._asked_by = None if config["query_encoder"] is None else self._ranker.checksum()

    def _encoder(self) -> "tuple[BiEncoder, Collator]":
        import torch

        from limbeck.experiment import assemble
        from limbeck.experiment.spaces import check_tied, query_encoder_nodes
        from limbeck.students.base import BiEncoder

        torch.manual_seed(self._made["seed"])
        # A tokenizer that was trained, was trained on the collection that was indexed.
        if self._collection.content("document") == self._store.identity["documents"]:
            indexed = self._collection
        else:
            log.info("%s are the queries; the documents are those of the index", self._collection.name)
            indexed = opened(self._made["data"], self._artefacts)
        other = self._config["query_encoder"]
        nodes = self._made if other is None else query_encoder_nodes(Path(other), "query_encoder")
        model, collator = assemble.ranker(nodes["student"], nodes["backbone"], indexed, self._artefacts)
        if other is not None:
            check_tied(Path(other), model, self._store, "query_encoder")
        elif model.checksum() != self._store.identity["weights"]:
            raise ConfigError(
                f"index: the model that {self._store.path} was built with has changed since; build the index anew"
            )
        assert isinstance(model, BiEncoder), "a separable student is a bi-encoder"
        style, look_up = collator.style, self._collection
        return model, type(collator)(collator.tokenizer, style, look_up.query_texts, look_up.document_texts)

    def run(self, share: tuple[int, int], out: Path) -> None:
        """Search a share of the shards and write it; the last share to come merges all."""
        number, count = share
        if count == 1:
            self._finish(self._ranked(None), out)
            return
        if self._first is None and not self._backend.by_shard:
            raise ConfigError(
                f"shard: backend={self._backend.name} is one structure with these options; search without shard=…"
            )
        parts = out.with_name(f"{out.name}.parts")
        self._open(parts, count)
        path = parts / f"{number + 1}-of-{count}.trec"
        if path.exists():
            log.info("%s: reused", path)
        else:
            _write(path, self._ranked(range(number, len(self._store), count)))
        self._merge(parts, count, out)

    def _open(self, parts: Path, count: int) -> None:
        """Make the folder of the parts, or see that it is one of this very search."""
        first = self._first
        inputs = first and first.identity(self._task()) | {"depth": first.depth}
        wanted = {
            "index": fingerprint(self._store.identity),
            "backend": fingerprint(self._node),
            "candidates": inputs and fingerprint(inputs),
            "queries": self._collection.asked(self._query_ids),
            "documents": self._collection.content("document"),
            "query_encoder": self._asked_by,
            **{key: self._config[key] for key in ("split", "depth", "bf16")},
            "shards": count,
        }
        parts.mkdir(parents=True, exist_ok=True)
        path = parts / "parts.json"
        with _lock(parts):
            if not path.exists():  # shares of the work may start at the same moment
                write_json(path, wanted)
        found = _json(path)
        if found != wanted:
            raise ConfigError(
                f"out: {parts} holds parts of another search (they differ in {', '.join(differences(found, wanted))}); "
                "delete it or give another file"
            )

    def _merge(self, parts: Path, count: int, out: Path) -> None:
        from limbeck.evaluation.ranking import merge
        from limbeck.evaluation.runs import read_run
        from limbeck.search.ranking import check_found

        with _lock(parts):
            paths = [parts / f"{number}-of-{count}.trec" for number in range(1, count + 1)]
            lacking = [path.name for path in paths if not path.exists()]
            if lacking:
                if not out.exists():
                    log.info("%s: %d of %d parts are there", parts, count - len(lacking), count)
                return
            merged = merge([read_run(path) for path in paths], None if self._first else self._config["depth"])
            whole = {query: merged[query] for query in self._query_ids if query in merged}
            if self._first is not None:
                check_found(self._candidates(), whole, self._store)
            self._finish(whole, out)
            shutil.rmtree(parts)

    def _task(self) -> "Search":
        from limbeck.data.candidates import Search

        return Search(self._collection, self._config["split"], self._artefacts)

    def _candidates(self) -> "Run":
        from limbeck.data.candidates import find

        assert self._first is not None
        return find(self._first, self._task())

    def _ranked(self, shards: range | None) -> "Run":
        """Rank, and log how long it took."""
        from limbeck.inference import encode
        from limbeck.search.ranking import rerank, search

        ranker, store, ids = self._ranker, self._store, self._query_ids
        first = None if self._first is None else self._candidates()
        depth, bf16 = self._config["depth"], self._config["bf16"]

        def ranked(queries: "Rows", chosen: list[str]) -> "Run":
            if first is not None:
                return rerank(ranker, chosen, queries, store, first, shards=shards)
            return search(self._backend, ranker, chosen, queries, store, depth, shards=shards)

        def encoded(chosen: list[str]) -> "Rows":
            return encode(ranker, self._collator, chosen, "query", bf16=bf16)

        queries, encoding = _timed(lambda: encoded(ids))
        found, searching = _timed(lambda: ranked(queries, ids))
        how = f"re-ranked {self._first.label}" if self._first else f"searched by {self._backend.name}"
        log.info(
            "%s queries encoded in %.2f s, %s in %.2f s: %.1f queries/s",
            f"{len(ids):,}", encoding, how, searching, len(ids) / (encoding + searching),
        )  # fmt: skip
        alone = [
            _timed(lambda query=query: ranked(encoded([query]), [query]))[1] for query in ids[: self._config["timed"]]
        ]
        if alone:
            log.info("a query alone: %.1f ms (median of %d)", 1000 * median(alone), len(alone))
        return found

    def _finish(self, found: "Run", out: Path) -> None:
        from limbeck.evaluation.metrics import evaluate, means
        from limbeck.reporting.terminal import show_rows

        _write(out, found)
        system = f"{self._first.name}, re-ranked" if self._first else self._backend.name
        system += "" if self._asked_by is None else f", queries by {self._config['query_encoder']}"
        means_of = means(evaluate(self._split.qrels, found, self._config["metrics"]))
        row = {"system": system, "queries": f"{len(self._split.qrels):,}", **means_of}
        title = f"{self._collection.name} {self._config['split']}: {out}"
        show_rows([row], ["system", "queries"], title, bold=False)


def _timed(call: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _write(path: Path, found: "Run") -> None:
    from limbeck.evaluation.runs import write_run

    write_run(path, found, "limbeck")


def _lock(path: Path) -> AbstractContextManager[object]:
    return locked(path.with_name(f".{path.name}.lock"), str(path))


def _json(path: Path) -> Config:
    import json

    return json.loads(path.read_text(encoding="utf-8"))
