"""Candidates: rankings from which training lists are drawn and which re-rankers re-rank."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from limbeck import room
from limbeck.artefacts import Artefacts
from limbeck.config import fingerprint
from limbeck.data.collection import Collection
from limbeck.data.columns import Texts
from limbeck.evaluation import array_run
from limbeck.evaluation.array_run import ArrayRun
from limbeck.progress import Step
from limbeck.types import Ranking, Run, order

log = logging.getLogger(__name__)

BLOCK = 20_000
"""Most queries ranked and cached together: a killed process loses the unfinished block."""

_FILE = "candidates.arrow"

_SMALLER = "take a smaller candidates.depth, or set paths.cache to a folder on another disk"

_LOOKED_AT = 20
"""Queries that are looked up to find out whether queries are documents."""


@dataclass(frozen=True)
class Search:
    """One search: the queries of a split, in a collection."""

    collection: Collection
    split: str
    artefacts: Artefacts
    """The cache of indexes and rankings."""
    places: range | None = None
    """Positions of the queries in the split; None for all."""

    @property
    def queries(self) -> Texts:
        """Query id → text."""
        queries = self.collection.split(self.split).queries
        return queries if self.places is None else queries.part(self.places.start, self.places.stop)

    def __len__(self) -> int:
        return len(self.collection.split(self.split).queries) if self.places is None else len(self.places)

    @property
    def what(self) -> str:
        """The queries, in words."""
        if self.places is None:
            return f"{self.split} queries"
        total = len(self.collection.split(self.split).queries)
        return f"{self.split} queries {self.places.start + 1:,} to {self.places.stop:,} of {total:,}"

    def blocks(self, pairs: float) -> "Iterator[Search]":
        """Yield the search in blocks of queries; only itself if the queries are few.

        Parameters
        ----------
        pairs
            Most (query, document) pairs per block; a block has at most ``BLOCK`` queries.
        """
        total, size = len(self), together(len(self.collection.document_ids), pairs)
        if total <= size:
            yield self
            return
        for start in range(0, total, size):
            yield replace(self, places=range(start, min(start + size, total)))


def together(documents: int, pairs: float) -> int:
    """Return the number of queries per block: ``BLOCK``, halved until a block has at most ``pairs`` pairs."""
    size = BLOCK
    while size % 2 == 0 and size * documents > pairs:
        size //= 2
    return size


class Candidates(Protocol):
    """A source of candidates: BM25, an encoder, run files, or a fusion of several."""

    name: str
    """Short name for tables."""
    label: str
    """Name with the most important options."""
    depth: int | None
    """Documents retrieved for each query; None for all that the source has."""
    advice: str
    """How it reads texts, and what to try where it finds nothing; empty if there is no advice."""
    kept: ClassVar[bool]
    """Whether rankings are cached; not if they come from a file."""
    pairs: ClassVar[float]
    """(query, document) pairs ranked in a few minutes: a kill loses at most one such block."""

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the rankings depend on, besides depth, collection and queries."""
        ...

    def search(self, search: Search) -> Run:
        """Return the rankings; a query without results may be absent."""
        ...


def inputs(candidates: Candidates, search: Search) -> dict[str, Any]:
    """Return everything the rankings depend on."""
    return {
        **candidates.identity(search),
        "depth": candidates.depth,
        "drop_self": search.collection.drop_self,
        "documents": search.collection.content("document"),
        "queries": fingerprint(search.queries.in_order()),
    }


def find(candidates: Candidates, search: Search) -> Run:
    """Return the rankings. Blocks of queries are read from the cache, and searched where they are missing.

    Cached rankings are memory-mapped, and read on access.
    """
    search.collection.check_ids(search.split)
    _warn_of_own(search)
    if not candidates.kept:
        return candidates.search(search)
    found = ArrayRun.mapped(_all_kept(candidates, search))
    _warn_of_nothing(candidates, search, found)
    return found


def find_share(candidates: Candidates, search: Search, share: tuple[int, int]) -> None:
    """Search for the queries of blocks i, i + n, … of a split, and cache the rankings for ``find``.

    Parameters
    ----------
    candidates, search
        As for ``find``. Does nothing for candidates that are not cached.
    share
        (i, n).
    """
    search.collection.check_ids(search.split)
    if candidates.kept:
        _all_kept(candidates, search, share)


def _all_kept(candidates: Candidates, search: Search, share: tuple[int, int] = (0, 1)) -> list[Path]:
    """Return the files with the rankings of all blocks; missing blocks are searched first."""
    mine = islice(search.blocks(candidates.pairs), share[0], None, share[1])
    blocks = [(block, _inputs(candidates, block)) for block in mine]
    lacking = [search.artefacts.find("candidates", each) is None for _, each in blocks]
    counts = [len(block) * lacks for (block, _), lacks in zip(blocks, lacking, strict=True)]
    paths: list[Path] = []

    def needs() -> str:
        if candidates.depth is None:
            return ""
        ids = search.collection.document_ids[:_LOOKED_AT]
        disk = sum(counts) * min(candidates.depth, len(search.collection.document_ids)) * array_run.size(ids)
        return room.words(disk=disk, folder=search.artefacts.root, instead=_SMALLER)

    with Step(f"{candidates.label} for {search.split} queries", sum(counts), "queries", needs=needs) as step:
        for (block, each), count in zip(blocks, counts, strict=True):
            step.begin(count)
            paths.append(_kept(candidates, block, each))
            step.advance(count)
    return paths


def _inputs(candidates: Candidates, search: Search) -> dict[str, Any]:
    return {"version": array_run.VERSION, **inputs(candidates, search)}


def _kept(candidates: Candidates, search: Search, inputs: Mapping[str, Any]) -> Path:
    path = search.artefacts.folder(
        "candidates",
        inputs,
        lambda target: array_run.write(target / _FILE, candidates.search(search)),
        label=f"{candidates.label} for {search.what}",
    )
    return path / _FILE


def _warn_of_nothing(candidates: Candidates, search: Search, found: Run) -> None:
    """Warn where most queries have no results."""
    nothing = len(search) - len(found)
    if 2 * nothing > len(search):
        log.warning(
            "%s finds nothing for %d of %d %s queries of %s%s",
            candidates.label,
            nothing,
            len(search),
            search.split,
            search.collection.name,
            candidates.advice and f": {candidates.advice}",
        )


def _warn_of_own(search: Search) -> None:
    """Warn where queries are documents of the collection and are not dropped from their own rankings."""
    if search.collection.drop_self:
        return
    some = list(islice(search.queries, _LOOKED_AT))
    own = search.collection.known_texts(some)
    if own and all(query in own and search.queries[query] in own[query] for query in some):
        log.warning(
            "the %s queries of %s are documents of it: each will find itself first; data.drop_self=true drops it",
            search.split,
            search.collection.name,
        )


def best(query: str, ids: Sequence[str], scores: np.ndarray, depth: int | None, *, drop_self: bool) -> Ranking:
    """Rank the documents found for a query.

    Parameters
    ----------
    query
        Id of the query.
    ids
        Ids of documents, in any order.
    scores
        Their scores. Documents of score 0 are dropped: they match nothing.
    depth
        Number of documents to keep; None keeps all.
    drop_self
        Drop the document with the id of the query.
    """
    kept = [i for i in np.flatnonzero(scores).tolist() if not (drop_self and ids[i] == query)]
    return order([ids[i] for i in kept], np.asarray(scores)[kept], depth)


def check_depth(depth: int | None) -> None:
    """Raise ``ValueError`` for a depth below 1."""
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
