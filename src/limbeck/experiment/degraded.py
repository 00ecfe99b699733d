"""A teacher degraded by a known amount: noise, misread queries, negated scores."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from limbeck.config import Config
from limbeck.data.analysers import words
from limbeck.data.collection import Collection
from limbeck.data.pool import Pool
from limbeck.experiment.teaching import Teaching
from limbeck.registry import register
from limbeck.teachers.base import Lists


@register("teacher", "degraded", parts=("of",))
class Degraded(Teaching):
    """A teacher degraded by a known amount: t'(q, d) = ± t(q', d) + noise · z(q, d), whatever list d is in.

    All draws depend on the seed and a hash of the ids: a query degraded at one share is degraded at any higher share.

    Parameters
    ----------
    of
        The teacher to degrade.
    collection
        Has the texts of the queries.
    noise
        Standard deviation of the noise, in units of the score; z is standard normal. Averages out over queries.
    misread
        Share of queries that get the scores of another query q': the training query with the most similar words (cosine
        of inverse-frequency weighted counts; never one with the same words). This error does not average out. A store
        may lack the pairs (q', d): use a teacher that scores any pair, or `missing: drop` of the store.
    negated
        Share of queries whose scores are negated, which reverses their order.
    seed
        Seed of the noise and of the choice of queries.

    Raises
    ------
    ValueError
        An option is out of range.
    """

    def __init__(
        self,
        of: Teaching,
        collection: Collection,
        *,
        noise: float = 0.0,
        misread: float = 0.0,
        negated: float = 0.0,
        seed: int = 13,
    ) -> None:
        if noise < 0:
            raise ValueError(f"noise must be >= 0, got {noise}")
        for name, share in (("misread", misread), ("negated", negated)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {share}")
        self.options = {"noise": noise, "misread": misread, "negated": negated, "seed": seed}
        said = ", ".join(f"{name} {value:g}" for name, value in self.options.items() if name != "seed" and value)
        name = f"{of.meta['teacher']}, degraded ({said or 'by nothing'})"
        meta = {**of.meta, "teacher": name}
        if noise or negated:  # noise and negation leave the range of probabilities and cosines
            meta |= {"kind": "similarity", "scale": None}
        super().__init__({"kind": "degraded", "of": dict(of.identity), **self.options}, meta, of.missing)
        self._of = of
        self._collection = collection
        self._noise, self._misread, self._negated, self._seed = noise, misread, negated, seed
        self._similar: _Similar | None = None

    def scores_of(self, pool: Pool) -> np.ndarray:
        """Return the degraded scores of a pool's pairs; NaN where the teacher has none."""
        if not self._misread:
            scores = np.split(self._of.scores_of(pool), pool.offsets[1:-1])
            degraded = [self._disturbed(q, d, s) for (q, d), s in zip(pool.lists().items(), scores, strict=True)]
        else:
            degraded = self.scores_of_lists(pool.lists())
        return np.concatenate(degraded) if degraded else np.empty(0, dtype=np.float32)

    def scores_of_lists(self, lists: Lists) -> list[np.ndarray]:
        """Return the degraded scores of each list."""
        read = {query: self.reads(query) for query in lists}
        asked: dict[str, dict[str, None]] = defaultdict(dict)
        for query, documents in lists.items():
            asked[read[query]].update(dict.fromkeys(documents))
        given = {query: list(documents) for query, documents in asked.items()}
        found = dict(zip(given, self._of.scores_of_lists(given), strict=True))
        places = {query: {document: place for place, document in enumerate(each)} for query, each in given.items()}
        degraded = []
        for query, documents in lists.items():
            place = places[read[query]]
            own = found[read[query]][np.array([place[document] for document in documents], dtype=np.int64)]
            degraded.append(self._disturbed(query, documents, own))
        return degraded

    def reads(self, query: str) -> str:
        """Return the query whose scores this query gets: itself, or the one it is misread as."""
        if not self._draw("misread", query) < self._misread:
            return query
        if self._similar is None:
            train = list(self._collection.split("train").queries)
            self._similar = _Similar(dict(zip(train, self._collection.query_texts(train), strict=True)))
        return self._similar(query, self._collection.query_texts([query])[0])

    def is_negated(self, query: str) -> bool:
        """Return whether the scores of a query are negated."""
        return self._draw("negated", query) < self._negated

    def said(self, queries: Sequence[str]) -> Config:
        """Return the options, and how many of the given queries are misread and negated."""
        misread = sum(self.reads(query) != query for query in queries)
        return {**self.options, "queries": len(queries), "misread_queries": misread,
                "negated_queries": sum(map(self.is_negated, queries))}  # fmt: skip

    def _disturbed(self, query: str, documents: Sequence[str], scores: np.ndarray) -> np.ndarray:
        scores = np.asarray(scores, dtype=np.float64) * (-1.0 if self.is_negated(query) else 1.0)
        if self._noise:
            scores += self._noise * np.array([_normal(f"{self._seed} {query}\n{document}") for document in documents])
        return scores.astype(np.float32)

    def _draw(self, what: str, query: str) -> float:
        return _uniforms(f"{self._seed} {what}\n{query}")[0]


class _Similar:
    """Finds the query with the most similar words; ties are broken by id."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._ids = sorted(texts)
        counted = self._counted([texts[query] for query in self._ids])
        seen = Counter(word for each in counted for word in each)
        self._rarity = {word: math.log(1 + len(self._ids) / count) for word, count in seen.items()}
        self._lists: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._words = [set(each) for each in counted]
        for number, each in enumerate(counted):
            for word, weight in self._weighted(each).items():
                self._lists[word].append((number, weight))

    def __call__(self, query: str, text: str) -> str:
        (counts,) = self._counted([text])
        totals = np.zeros(len(self._ids))
        for word, weight in self._weighted(counts).items():
            for number, other in self._lists.get(word, ()):
                totals[number] += weight * other
        same = [number for number, each in enumerate(self._words) if each == set(counts) or self._ids[number] == query]
        totals[same] = -1.0
        best = int(totals.argmax())
        return self._ids[best] if totals[best] >= 0 else query

    @staticmethod
    def _counted(texts: list[str]) -> list[Counter[str]]:
        return [Counter(each) for each in words(texts, stopwords="en", stemmer=None)]

    def _weighted(self, counts: Mapping[str, int]) -> dict[str, float]:
        weights = {word: count * self._rarity.get(word, 0.0) for word, count in counts.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}


def _uniforms(key: str) -> tuple[float, float]:
    """Return two numbers in (0, 1) that depend only on the key, in every process and on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    first, second = (int.from_bytes(half, "little") >> 11 for half in (digest[:8], digest[8:]))
    return (first + 0.5) * 2.0**-53, (second + 0.5) * 2.0**-53


def _normal(key: str) -> float:
    """Return a standard normal number that depends only on the key (Box-Muller transform of two uniforms)."""
    first, second = _uniforms(key)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
