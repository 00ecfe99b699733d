"""Search an index: write a TREC run, and evaluate it."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from limbeck.artefacts import Artefacts
from limbeck.config import Config, ConfigError, Node, build, fingerprint
from limbeck.experiment.index import opened
from limbeck.experiment.search_parts import Parts, is_free, lock
from limbeck.experiment.spread import Share, shards, spread
from limbeck.progress import Step

if TYPE_CHECKING:
    from limbeck.data.candidates import Candidates, Search
    from limbeck.data.columns import Texts
    from limbeck.search.backend import Backend
    from limbeck.search.shards import Store
    from limbeck.students.base import BiEncoder
    from limbeck.text.collate import Collator
    from limbeck.types import Run

Result = TypeVar("Result")

log = logging.getLogger(__name__)


def search(plain: Config) -> None:
    """Search, write the run or a part of it, and evaluate it when it is complete.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/search.yaml`` as plain containers.
    """
    from limbeck.search.shards import Store
    from limbeck.search.shares import share

    out, count, chosen = Path(plain["out"]), shards(plain), share(plain["shard"])
    if out.is_dir():
        raise ConfigError(f"out: {out} is a folder; give the file to write: out={out / 'run.trec'}")
    store = Store(Path(plain["index"]))
    if chosen[1] > 1:
        if is_free(out, plain, shared=True):
            _Searching(plain, store).run(chosen, out)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with lock(out):
        if not is_free(out, plain, shared=False):
            return
        searching, count = _Searching(plain, store), min(count, len(store))
        searching.check(count)
        if count > 1:
            spread(search_share, plain, out, count)
            searching.merge(count, out)
        else:
            searching.run(chosen, out)


def search_share(config: Config, share: Share) -> None:
    """Search a share of the shards; the process that waits for all merges them."""
    from limbeck.search.shards import Store

    _Searching(config, Store(Path(config["index"]))).run(share, Path(config["out"]), merges=False)


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
        from limbeck.experiment import assemble, emulated
        from limbeck.search.backend import check_kind
        from limbeck.search.encoding import check_ids

        self._config = config
        self._store = store
        self._made = store.meta["made_from"]
        log.info("%s: %s documents", store.path, f"{store.documents:,}")
        device = assemble.device(config["accelerator"])
        emulated.warn(config, device)
        node = config.get("backend") or store.meta.get("backend")
        if node is None:
            raise ConfigError(f"{store.path} is not finished; run its limbeck index command again to finish it")
        self._node = node
        self._backend: Backend = build(node, key="backend")
        check_kind(self._backend, store.kind)
        first = config.get("candidates")
        self._first: Candidates | None = assemble.candidates(first, device) if first else None
        self._artefacts = Artefacts(Path(config["paths"]["cache"]))
        self._collection = opened(config.get("data") or self._made["data"], self._artefacts)
        self._split = self._collection.split(config["split"])
        check_ids(self._split.queries, "data: the query id")
        self._ranker, self._collator = self._encoder()
        self._ranker.to(device)
        self._asked_by = None if config["query_encoder"] is None else self._ranker.checksum()
        self._spent: list[tuple[int, float, float]] = []
        """Number of queries, seconds to encode them and seconds to search them, per block."""

    def _encoder(self) -> "tuple[BiEncoder, Collator]":
        import torch

        from limbeck.experiment import assemble
        from limbeck.experiment.spaces import check_tied, query_encoder_nodes
        from limbeck.students.base import BiEncoder

        torch.manual_seed(self._made["seed"])
        # A trained tokenizer was trained on the collection that was indexed.
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
                f"index: the model that {self._store.path} was built with has changed since; build the index again"
            )
        assert isinstance(model, BiEncoder), "a separable student is a bi-encoder"
        style, look_up = collator.style, self._collection
        return model, type(collator)(collator.tokenizer, style, look_up.query_texts, look_up.document_texts)

    def run(self, share: Share, out: Path, *, merges: bool = True) -> None:
        """Search a share of the shards and write it; with ``merges``, the last share to finish merges all.

        Queries are searched in blocks: a block that is written is not searched again after a kill.
        """
        number, count = share
        self.check(count)
        blocks = self._blocks()
        shards = None if count == 1 else range(number, len(self._store), count)
        first = self._candidates()
        if count == len(blocks) == 1:
            queries = list(blocks[0])
            found = self._ranked(queries, first, shards)
            self._tell(shards, first)
            self._finish([(queries, found)], out)
            return
        parts = Parts.beside(out, count)
        parts.open(self._inputs(count))
        counts = [len(some) * (not parts.path(number, block).exists()) for block, some in enumerate(blocks)]
        with Step(f"searching {self._store.path}", sum(counts), "queries") as step:
            for block, some in enumerate(blocks):
                if not counts[block]:
                    log.info("%s: reused", parts.path(number, block))
                    continue
                step.begin(len(some))
                parts.write(number, block, self._ranked(list(some), first, shards))
                step.advance(len(some))
        self._tell(shards, first)
        if merges:
            self.merge(count, out)

    def merge(self, count: int, out: Path) -> None:
        """Merge the parts of all shares, if all are there."""
        parts, blocks = Parts.beside(out, count), self._blocks()
        with parts.lock():
            if parts.complete(len(blocks), out):
                self._finish(self._merged(parts, blocks, self._candidates()), out)
                parts.remove()

    def check(self, count: int) -> None:
        """Raise ``ConfigError`` if the index cannot be searched in so many shares."""
        if count > 1 and self._first is None and not self._backend.by_shard:
            raise ConfigError(
                f"shard: backend={self._backend.name} is one structure with these options; search without shard=…"
            )

    def _blocks(self) -> "list[Texts]":
        """Return the blocks of queries that are searched together."""
        from limbeck.data.candidates import together
        from limbeck.data.dense import Dense

        size = together(self._store.documents, math.inf if self._first else Dense.pairs)
        every = self._split.queries
        return [every.part(start, min(start + size, len(every))) for start in range(0, len(every), size)]

    def _inputs(self, count: int) -> Config:
        """Return everything the parts of a search depend on."""
        first = self._first
        inputs = first and first.identity(self._task()) | {"depth": first.depth}
        return {
            "index": fingerprint(self._store.identity),
            "backend": fingerprint(self._node),
            "candidates": inputs and fingerprint(inputs),
            "queries": self._collection.asked(self._split.queries),
            "documents": self._collection.content("document"),
            "query_encoder": self._asked_by,
            **{key: self._config[key] for key in ("split", "depth", "bf16")},
            "shards": count,
        }

    def _merged(
        self, parts: Parts, blocks: "Sequence[Texts]", first: "Run | None"
    ) -> "Iterator[tuple[list[str], Run]]":
        """Yield blocks of queries with their rankings, merged over all shares."""
        from limbeck.evaluation.ranking import merge
        from limbeck.search.ranking import check_found

        for block, some in enumerate(blocks):
            queries = list(some)
            whole = merge(parts.read(block), None if self._first else self._config["depth"], queries)
            if first is not None:
                check_found(((query, first[query]) for query in queries if query in first), whole, self._store)
            yield queries, whole

    def _task(self) -> "Search":
        from limbeck.data.candidates import Search

        return Search(self._collection, self._config["split"], self._artefacts)

    def _candidates(self) -> "Run | None":
        from limbeck.data.candidates import find

        return None if self._first is None else find(self._first, self._task())

    def _ranked(self, queries: list[str], first: "Run | None", shards: range | None) -> "Run":
        """Rank documents for some queries, and measure the time."""
        from limbeck.inference import encode
        from limbeck.search.ranking import rerank, search

        ranker, store = self._ranker, self._store
        encoded, encoding = _timed(lambda: encode(ranker, self._collator, queries, "query", bf16=self._config["bf16"]))
        if first is None:
            depth = self._config["depth"]
            found, searching = _timed(
                lambda: search(self._backend, ranker, queries, encoded, store, depth, shards=shards)
            )
        else:
            found, searching = _timed(lambda: rerank(ranker, queries, encoded, store, first, shards=shards))
        self._spent.append((len(queries), encoding, searching))
        return found

    def _tell(self, shards: range | None, first: "Run | None") -> None:
        """Log the search time: of all queries together, and of a single query."""
        if not self._spent:
            return
        count, encoding, searching = map(sum, zip(*self._spent, strict=True))
        how = f"re-ranked {self._first.label}" if self._first else f"searched by {self._backend.name}"
        log.info(
            "%s queries encoded in %.2f s, %s in %.2f s: %.1f queries/s",
            f"{count:,}", encoding, how, searching, count / (encoding + searching),
        )  # fmt: skip
        alone = [
            _timed(lambda query=query: self._ranked([query], first, shards))[1]
            for query in islice(self._split.queries, self._config["timed"])
        ]
        if alone:
            log.info("a query alone: %.1f ms (median of %d)", 1000 * median(alone), len(alone))

    def _finish(self, found: "Iterable[tuple[list[str], Run]]", out: Path) -> None:
        """Write the rankings block by block, and evaluate them."""
        from limbeck.experiment.found import write
        from limbeck.reporting.terminal import show_rows

        judged = self._split.qrels
        values = write(found, out, judged, self._config["metrics"], len(self._split.queries))
        asked_by = "" if self._asked_by is None else f", queries by {self._config['query_encoder']}"
        system = (f"{self._first.name}, re-ranked" if self._first else self._backend.name) + asked_by
        row = {"system": system, "queries": f"{len(judged):,}", **values}
        title = f"{self._collection.name} {self._config['split']}: {out}"
        show_rows([row], ["system", "queries"], title, bold=False)


def _timed(call: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start
