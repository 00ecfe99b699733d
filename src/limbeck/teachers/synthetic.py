"""The synthetic teacher: scores from the latent concepts of the synthetic collection, with adjustable errors.

The score of document d for query q is

    t(q, d) = a · [(1 - w) · r(q, d) + w · r(q', d)] + σ · z(q, d)

where r is the overlap of latent concepts, which also determines the grades, a the scale, σ the noise, and z a standard
normal that depends only on seed, query and document, so that a pair has the same score in every list.

The teacher has two kinds of errors. *Noise* is random and averages out over queries. For a share of the queries the
teacher is *wrong*: it scores a misread query q', in which one concept of q is replaced by another of the same topic
(always the same replacement for a concept). For these queries w is the strength of the error; for all others w = 0.
With a strength above 1/2, documents of the misread query rank above the relevant ones.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limbeck.plan import Plan
from limbeck.registry import register
from limbeck.teachers.lists import by_lists

Hashes = NDArray[np.uint64]


@register("teacher", "synthetic")
class SyntheticTeacher:
    """A teacher for the synthetic collection, with adjustable errors.

    Parameters
    ----------
    folder
        Folder of a synthetic collection; its ``latent.npz`` is read.
    scale
        a, the score of a document that covers the query fully. A greater scale makes the teacher's distribution over a
        list more peaked.
    noise
        σ, standard deviation of the noise, in units of the score. More noise makes every ranking worse.
    wrong_share
        Share of the queries that the teacher misreads; a greater share includes the queries of a smaller one.
    wrong_strength
        w, weight of the misread query, from 0 (no error) to 1 (only the misread query counts).
    seed
        Seed of noise and errors.
    """

    given: ClassVar = ("folder",)
    name: ClassVar = "the synthetic teacher"
    number: ClassVar = "similarity"

    def __init__(
        self,
        folder: Path,
        *,
        scale: float = 6.0,
        noise: float = 0.75,
        wrong_share: float = 0.2,
        wrong_strength: float = 1.0,
        seed: int = 13,
    ) -> None:
        _check("scale", scale, scale > 0, "> 0")
        _check("noise", noise, noise >= 0, ">= 0")
        _check("wrong_share", wrong_share, 0 <= wrong_share <= 1, "between 0 and 1")
        _check("wrong_strength", wrong_strength, 0 <= wrong_strength <= 1, "between 0 and 1")
        _check("seed", seed, 0 <= seed < 2**63, ">= 0 and below 2^63")
        self.scale, self.noise, self.seed = scale, noise, seed
        self.wrong_share, self.wrong_strength = wrong_share, wrong_strength
        path = Path(folder) / "latent.npz"
        if not path.is_file():
            raise ValueError(
                f"teacher=synthetic works only with data=synthetic: there is no latent.npz in {folder}. "
                "Choose another teacher (e.g. teacher=minilm)."
            )
        with np.load(path, allow_pickle=False) as latent:
            document_ids, query_ids = latent["document_ids"].tolist(), latent["query_ids"].tolist()
            self._documents = latent["document_concepts"]
            self._weights = latent["document_weights"]
            self._queries = latent["query_concepts"]
            self._concepts_per_topic = int(latent["concepts_per_topic"])
        self._document_rows = {key: row for row, key in enumerate(document_ids)}
        self._query_rows = {key: row for row, key in enumerate(query_ids)}
        self._document_hashes = _hash_ids(document_ids)
        self._query_hashes = _hash_ids(query_ids)

    def identity(self) -> dict[str, Any]:
        """Return everything that the scores depend on, except the collection."""
        options = ("scale", "noise", "wrong_share", "wrong_strength", "seed")
        return {"kind": "synthetic"} | {name: getattr(self, name) for name in options}

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Score each query's documents.

        Parameters
        ----------
        query_ids
            Query ids.
        lists
            Document ids, one list per query.

        Returns
        -------
        list of numpy.ndarray
            Raw float32 scores in the order of ``lists``.

        Raises
        ------
        ValueError
            A query or document is not in this collection, or the two arguments differ in length.
        """
        if len(query_ids) != len(lists):
            raise ValueError(f"lists must hold one list per query: {len(query_ids)} queries, {len(lists)} lists")
        rows = self._rows_of_queries(query_ids)
        wrong = self._wrong(rows)
        return [
            self._score_one(int(row), bool(bad), self._rows_of_documents(documents))
            for row, bad, documents in zip(rows, wrong, lists, strict=True)
        ]

    def plan(self, lists: Mapping[str, Sequence[str]], size: int) -> Plan:
        """Split the scoring of lists into parts of at most ``size`` pairs."""
        return Plan(lists, by_document=False, size=size)

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return the function that scores a part."""
        return by_lists(self.score, plan)

    def is_wrong(self, query_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return, for each query, whether the teacher misreads it.

        Parameters
        ----------
        query_ids
            Query ids.

        Returns
        -------
        numpy.ndarray
            One boolean per query.
        """
        return self._wrong(self._rows_of_queries(query_ids))

    def _score_one(self, query: int, wrong: bool, documents: NDArray[np.int64]) -> NDArray[np.float32]:
        relevance = self._overlap(self._queries[query], documents)
        if wrong:
            misread = self._overlap(self._misread(query), documents)
            relevance = (1.0 - self.wrong_strength) * relevance + self.wrong_strength * misread
        scores = self.scale * relevance
        if self.noise > 0:
            pair = _mix(self._query_hashes[query : query + 1] + np.uint64(self.seed)) ^ self._document_hashes[documents]
            scores = scores + self.noise * _normal(pair)
        return scores.astype(np.float32)

    def _overlap(self, concepts: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean weight of the concepts in each document."""
        shared = self._documents[documents][:, :, None] == concepts[None, None, :]
        return (shared * self._weights[documents][:, :, None]).sum(axis=(1, 2), dtype=np.float64) / len(concepts)

    def _misread(self, query: int) -> NDArray[np.int64]:
        """Return the misread query: one of its concepts is replaced by another of the same topic."""
        concepts, size = self._queries[query].copy(), self._concepts_per_topic
        chance = _mix(self._query_hashes[query : query + 1] ^ np.uint64(self.seed + 1))[0]
        place = int(chance % np.uint64(len(concepts)))
        topic, within = divmod(int(concepts[place]), size)
        # The replacement depends on the concept, not on the query, so that the error is systematic and can be learned.
        first = int(_mix(np.array([self.seed], dtype=np.uint64) + np.uint64(topic))[0] % np.uint64(size - 1))
        candidates = [topic * size + (within + 1 + (first + i) % (size - 1)) % size for i in range(size - 1)]
        free = [c for c in candidates if c not in concepts]
        if free:
            concepts[place] = free[0]
        return concepts

    def _wrong(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        seeded = _mix(self._query_hashes[rows] + np.uint64(self.seed))
        return _uniform(seeded ^ np.uint64(0x77726F6E67)) < self.wrong_share

    def _rows_of_queries(self, query_ids: Sequence[str]) -> NDArray[np.int64]:
        return _rows(self._query_rows, query_ids, "query")

    def _rows_of_documents(self, document_ids: Sequence[str]) -> NDArray[np.int64]:
        return _rows(self._document_rows, document_ids, "document")


def _rows(index: dict[str, int], ids: Sequence[str], kind: str) -> NDArray[np.int64]:
    try:
        return np.fromiter((index[i] for i in ids), dtype=np.int64, count=len(ids))
    except KeyError as error:
        raise ValueError(
            f"{kind} {error.args[0]!r} is not in the teacher's synthetic collection. Score only its queries and "
            "documents, and compute candidates and scores again after a change of the data's options."
        ) from None


def _check(name: str, value: float, holds: bool, requirement: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {requirement}, got {value}")


def _hash_ids(ids: list[str]) -> Hashes:
    """Return hashes that, unlike Python's, are the same in every process and on every machine."""
    digests = b"".join(hashlib.blake2b(i.encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _mix(x: Hashes) -> Hashes:
    """Apply splitmix64's finaliser: similar inputs give unrelated outputs. Overflow wraps on purpose."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _uniform(x: Hashes) -> NDArray[np.float64]:
    """Return uniform numbers in (0, 1), from the upper 53 bits of the mixed input."""
    return ((_mix(x) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _normal(x: Hashes) -> NDArray[np.float64]:
    """Return standard normal numbers, by the Box-Muller transform of two uniform numbers per input."""
    radius = np.sqrt(-2.0 * np.log(_uniform(x)))
    return radius * np.cos(2.0 * np.pi * _uniform(x ^ np.uint64(0xD1B54A32D192ED03)))
