"""Choose the documents of a training query's pool."""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.data.denoise import TeacherMargin
from limbeck.data.document_ids import DocumentIds
from limbeck.data.pool import Pool, join, read_pool, write_pool
from limbeck.progress import reported, show
from limbeck.registry import register
from limbeck.scores.keys import ID
from limbeck.types import Qrels, Run

log = logging.getLogger(__name__)

_BLOCK = 2000
"""Queries whose pools are chosen at once: their documents are Python objects meanwhile."""

_COUNTED = (
    "positives",
    "positives_among_the_candidates",
    "negatives",
    "random_documents",
    "queries_without_candidates",
    "queries_without_negatives",
)
_LEFT_OUT = (
    "queries_without_a_positive",
    "positives_not_in_the_collection",
    "positives_over_the_limit",
    "negatives_outside_the_window",
    "negatives_over_the_limit",
)


@register("pool", "pooling")
class Pooling:
    """A query's pool: its judged positives, then negatives from a window of the candidates, then random documents.

    A document that is judged positive is never a negative, even if the limits keep it out of the pool. Each document
    has its 1-based rank in the whole ranking of the candidates; a document not in the ranking has the rank length + 1.
    Positives keep their grade as label, all others have 0.

    Parameters
    ----------
    first_rank, last_rank
        Window of ranks that negatives come from, both included; ``last_rank`` null for the end of the ranking.
    negatives
        Most negatives per query; null for the whole window.
    negatives_by
        Which negatives, if there are more: ``random``, drawn by a hash of the query's id, or ``top``, the first ranks.
    positives
        Most positives per query, the highest grades first, then the best ranks; null for all.
    random_documents
        Random documents added to each query, drawn by a hash of its id: a retriever that never sees one cannot learn to
        rank it low.
    relevant
        Lowest grade that counts as positive; 2 for TREC DL. Lower grades count as not judged.
    denoise
        Limits on the teacher scores of negatives.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        first_rank: int = 1,
        last_rank: int | None = None,
        negatives: int | None = None,
        negatives_by: Literal["random", "top"] = "random",
        positives: int | None = None,
        random_documents: int = 0,
        relevant: int = 1,
        denoise: Any = None,
    ) -> None:
        if first_rank < 1:
            raise ValueError(f"first_rank must be >= 1, got {first_rank}")
        if last_rank is not None and last_rank < first_rank:
            raise ValueError(f"last_rank must be >= first_rank ({first_rank}) or null, got {last_rank}")
        if negatives is not None and negatives < 0:
            raise ValueError(f"negatives must be >= 0 or null, got {negatives}")
        if negatives_by not in ("random", "top"):
            raise ValueError(f"negatives_by must be random or top, got {negatives_by!r}")
        if positives is not None and positives < 1:
            raise ValueError(f"positives must be >= 1 or null, got {positives}")
        if random_documents < 0:
            raise ValueError(f"random_documents must be >= 0, got {random_documents}")
        if relevant < 1:
            raise ValueError(f"relevant must be >= 1, got {relevant}")
        if denoise is not None and not isinstance(denoise, TeacherMargin):
            raise ValueError(f"denoise must be null or limits, as pool.denoise.absolute=…, got {denoise!r}")
        self.first_rank = first_rank
        self.last_rank = last_rank
        self.negatives = negatives
        self.negatives_by = negatives_by
        self.positives = positives
        self.random_documents = random_documents
        self.relevant = relevant
        self.denoise: TeacherMargin = TeacherMargin() if denoise is None else denoise

    def identity(self) -> dict[str, Any]:
        """Return what a pool depends on besides judgments and candidates; denoising comes after the scores."""
        return {name: value for name, value in vars(self).items() if name != "denoise"}

    def check(self, *, scored: bool) -> None:
        """Raise ``ConfigError`` if there are limits on teacher scores, but no teacher scores."""
        if self.denoise.active and not scored:
            raise ConfigError("pool.denoise needs teacher scores; choose a teacher, or set its limits to null")

    def choose(self, qrels: Qrels, candidates: Run, document_ids: DocumentIds, parts: Path | None = None) -> Pool:
        """Choose the pools of all judged queries; omissions are counted, and logged where they matter.

        Parameters
        ----------
        qrels
            Judgments of the training queries.
        candidates
            Rankings of the training queries.
        document_ids
            All documents of the collection.
        parts
            Folder for the pools of blocks of queries: blocks that a killed process has finished are read from there.
            None keeps them in memory.

        Raises
        ------
        ConfigError
            No query has a positive in the collection.
        """
        absent = _absent(qrels, self.relevant, document_ids)
        judged = iter(qrels.items())
        blocks = iter(lambda: dict(islice(judged, _BLOCK)), {})
        chosen = (
            partial(self._chosen, block, candidates, document_ids, absent)
            for block in show(blocks, len(qrels), "training pool", "queries")
        )
        if parts is None or len(qrels) <= _BLOCK:
            pool = join([choose() for choose in chosen] or [self._chosen({}, candidates, document_ids, absent)])
        else:  # the block size is in the name, as another version of limbeck may have other blocks
            names = (parts / f"{start:09d}-{_BLOCK}.arrow" for start in itertools.count(0, _BLOCK))
            pool = join([_kept(path, choose) for path, choose in zip(names, chosen, strict=False)], parts)
        if not len(pool):
            raise ConfigError(
                f"no training query has a positive document in the collection (a grade of at least {self.relevant})"
            )
        _tell(pool.counts, len(qrels))
        return pool

    def _chosen(self, qrels: Qrels, candidates: Run, document_ids: DocumentIds, absent: set[str]) -> Pool:
        """Choose the pools of some queries; ``absent`` are the judged documents that the collection lacks."""
        counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
        left: Counter[str] = Counter(dict.fromkeys(_LEFT_OUT, 0))
        query_ids: list[str] = []
        lengths: list[int] = []
        documents: list[str] = []
        labels: list[int] = []
        ranks: list[int] = []
        first_stage: list[float] = []
        for query, judged in reported(qrels.items(), len(qrels), "training pool", "queries", part=True):
            found = candidates.get(query)
            ranking = [] if found is None else found.ids
            rank = {document: position for position, document in enumerate(ranking, 1)}
            scores = {} if found is None else dict(zip(ranking, found.scores.tolist(), strict=True))
            relevant = {document for document, grade in judged.items() if grade >= self.relevant}
            here = [document for document in judged if document in relevant and document not in absent]
            left["positives_not_in_the_collection"] += len(relevant) - len(here)
            if not here:
                left["queries_without_a_positive"] += 1
                continue
            behind = len(ranking) + 1
            positives = self._limited(here, judged, rank, behind)
            negatives = self._negatives(query, ranking, relevant, left)
            others = _random(query, document_ids, self.random_documents, {*ranking, *here})
            left["positives_over_the_limit"] += len(here) - len(positives)
            counts["positives"] += len(positives)
            counts["positives_among_the_candidates"] += sum(document in rank for document in positives)
            counts["negatives"] += len(negatives)
            counts["random_documents"] += len(others)
            counts["queries_without_candidates"] += not ranking
            counts["queries_without_negatives"] += not negatives and not others
            pool = [*positives, *negatives, *others]
            query_ids.append(query)
            lengths.append(len(pool))
            documents += pool
            labels += [judged[document] for document in positives] + [0] * (len(pool) - len(positives))
            ranks += [rank.get(document, behind) for document in pool]
            first_stage += [scores.get(document, np.nan) for document in pool]
        return Pool(
            query_ids=query_ids,
            offsets=np.cumsum([0, *lengths]),
            document_ids=pa.array(documents, ID),
            labels=np.array(labels, dtype=np.int16),
            ranks=np.array(ranks, dtype=np.int32),
            first_stage=np.array(first_stage, dtype=np.float32),
            counts={"queries": len(query_ids), "pairs": len(documents), **counts, "left_out": dict(left)},
        )

    def _limited(self, documents: list[str], judged: Mapping[str, int], rank: dict[str, int], behind: int) -> list[str]:
        """Return the positives to keep, in the order of the judgments."""
        if self.positives is None or len(documents) <= self.positives:
            return documents
        best = sorted(documents, key=lambda document: (-judged[document], rank.get(document, behind), document))
        kept = set(best[: self.positives])
        return [document for document in documents if document in kept]

    def _negatives(self, query: str, ranking: list[str], relevant: set[str], left: Counter[str]) -> list[str]:
        window = ranking[self.first_rank - 1 : self.last_rank]
        found = [document for document in window if document not in relevant]
        outside = [*ranking[: self.first_rank - 1], *ranking[self.first_rank - 1 + len(window) :]]
        left["negatives_outside_the_window"] += sum(document not in relevant for document in outside)
        if self.negatives is None or len(found) <= self.negatives:
            return found
        left["negatives_over_the_limit"] += len(found) - self.negatives
        if self.negatives_by == "top":
            return found[: self.negatives]
        drawn = _generator(f"negatives {query}").choice(len(found), self.negatives, replace=False)
        return [found[i] for i in sorted(drawn.tolist())]


def _absent(qrels: Qrels, relevant: int, document_ids: DocumentIds) -> set[str]:
    """Return the relevant documents that the collection lacks."""
    judged = iter(qrels.values())
    columns = []
    while block := list(islice(judged, _BLOCK)):
        wanted = [document for each in block for document, grade in each.items() if grade >= relevant]
        columns.append(pa.array(wanted, ID))
    return document_ids.unknown(columns)


def _kept(path: Path, choose: Callable[[], Pool]) -> Pool:
    """Return the pool in a file; it is chosen and written first if the file is missing."""
    if not path.exists():
        write_pool(path, choose())
    return read_pool(path)


def _generator(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _random(query: str, documents: DocumentIds, count: int, taken: set[str]) -> list[str]:
    if not count:
        return []
    drawn = _generator(query).choice(len(documents), min(len(documents), count + len(taken)), replace=False)
    names = documents.take(drawn)
    return [name for name in names if name not in taken][:count]


def _tell(counts: Mapping[str, Any], judged: int) -> None:
    left = counts["left_out"]
    for name, count, message in (
        ("queries_without_a_positive", left, f"%d of {judged} training queries have no positive in the collection and "
         "are left out"),
        ("positives_not_in_the_collection", left, "%d positives are judged but not in the collection"),
        ("queries_without_candidates", counts, "%d training queries have no candidates: their pools hold only "
         "judged documents, and random ones if configured"),
        ("queries_without_negatives", counts, "%d training queries have no negative"),
    ):  # fmt: skip
        if count.get(name):
            log.warning(message, count[name])
