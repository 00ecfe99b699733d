"""Candidates: the rankings that training lists are drawn from and that re-rankers re-rank."""

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
"""Queries, at most, whose rankings are kept together: what a killed process has not finished is ranked again."""

_FILE = "candidates.arrow"

_SMALLER = "take a smaller candidates.depth, or set paths.cache to a folder on another disk"

_LOOKED_AT = 20
"""Queries that are looked at to tell whether queries are documents."""


@dataclass(frozen=True)
class Search:
    """What is looked for where: a split's queries in a collection."""

    collection: Collection
    split: str
    artefacts: Artefacts
    """Where indexes and rankings are kept."""
    places: range | None = None
    """Which of the split's queries, by their places; None: all."""

    @property
    def queries(self) -> Texts:
        """Query id → text."""
        queries = self.collection.split(self.split).queries
        return queries if self.places is None else queries.part(self.places.start, self.places.stop)

    def __len__(self) -> int:
        return len(self.collection.split(self.split).queries) if self.places is None else len(self.places)

    @property
    def what(self) -> str:
        """Which queries, in words."""
        if self.places is None:
            return f"{self.split} queries"
        total = len(self.collection.split(self.split).queries)
        return f"{self.split} queries {self.places.start + 1:,} to {self.places.stop:,} of {total:,}"

    def blocks(self, pairs: float) -> "Iterator[Search]":
        """Yield the same search for some queries after the others; itself if they are few.

        Parameters
        ----------
        pairs
            Queries times documents that are ranked together, where that is less than ``BLOCK`` queries.
        """
        total, size = len(self), together(len(self.collection.document_ids), pairs)
        if total <= size:
            yield self
            return
        for start in range(0, total, size):
            yield replace(self, places=range(start, min(start + size, total)))


def together(documents: int, pairs: float) -> int:
    """Return how many queries are ranked together: ``BLOCK``, halved until they are so many pairs with documents."""
    size = BLOCK
    while size % 2 == 0 and size * documents > pairs:
        size //= 2
    return size


class Candidates(Protocol):
    """A source of candidates: BM25, an encoder, run files, or a fusion of several."""

    name: str
    """A word or two, for tables."""
    label: str
    """The same with what matters of its options."""
    depth: int | None
    """Documents kept for each query; None for all that the source has."""
    advice: str
    """What it looks for in texts and what to try where it finds nothing; empty if there is nothing to say."""
    kept: ClassVar[bool]
    """Whether rankings are kept in the cache; not what is a file already."""
    pairs: ClassVar[float]
    """Queries times documents that take some minutes: what a kill may cost."""

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the rankings depend on, beside depth, collection and queries."""
        ...

    def search(self, search: Search) -> Run:
        """Return the rankings; a query for which nothing is found may be absent."""
        ...


def inputs(candidates: Candidates, search: Search) -> dict[str, Any]:
    """Return all that the rankings depend on."""
    return {
        **candidates.identity(search),
        "depth": candidates.depth,
        "drop_self": search.collection.drop_self,
        "documents": search.collection.content("document"),
        "queries": fingerprint(search.queries.in_order()),
    }


def find(candidates: Candidates, search: Search) -> Run:
    """Return the rankings, from the cache as far as they are there: block by block, each whole or absent.

    What is kept is mapped into memory, and read where it is looked at.
    """
    search.collection.check_ids(search.split)
    _warn_of_own(search)
    if not candidates.kept:
        return candidates.search(search)
    found = ArrayRun.mapped(_all_kept(candidates, search))
    _warn_of_nothing(candidates, search, found)
    return found


def find_share(candidates: Candidates, search: Search, share: tuple[int, int]) -> None:
    """Search for the queries of blocks i, i + n, … of a split, and keep the rankings in the cache for ``find``.

    Parameters
    ----------
    candidates, search
        As for ``find``. Where rankings are not kept, nothing is done.
    share
        (i, n).
    """
    search.collection.check_ids(search.split)
    if candidates.kept:
        _all_kept(candidates, search, share)


def _all_kept(candidates: Candidates, search: Search, share: tuple[int, int] = (0, 1)) -> list[Path]:
    """Return the files with the rankings of some queries after the others, searched first where they are not there."""
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
    """Warn where most queries find nothing."""
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
    """Rank what was found for a query.

    Parameters
    ----------
    query
        Its id.
    ids, scores
        Documents in any order. Those of score 0 are dropped: they share nothing with the query.
    depth
        Documents to keep; None keeps all.
    drop_self
        Drop the document whose id is the query's.
    """
    kept = [i for i in np.flatnonzero(scores).tolist() if not (drop_self and ids[i] == query)]
    return order([ids[i] for i in kept], np.asarray(scores)[kept], depth)


def check_depth(depth: int | None) -> None:
    """Raise ``ValueError`` for a depth that keeps nothing."""
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
