"""The synthetic world: a small retrieval collection whose relevance is known exactly.

The world is a probabilistic model. Words are only its surface: relevance is decided on latent concepts, and every
concept has several words, so that matching words (BM25) finds a part of the relevant documents and a student has
something to learn. The symbols are those of the parameters' descriptions in ``World``.

Latent part
    There are T topics of C concepts each. A document d draws a topic uniformly, then, without replacement, m *central*
    concepts of the topic with salience x(d, c) = 1 and n *mentioned* ones with x(d, c) = 1/2; each mentioned concept
    is, with probability ε, replaced by a concept of another topic. All other x(d, c) are 0. A query q asks for a set
    Y(q) of k ≤ m concepts, drawn uniformly from the sets that are central in some document. Queries of different
    splits may ask for the same set, as a rule in other words.

Relevance
    The overlap r(q, d) is the mean of x(d, c) over the concepts c in Y(q). A document with r = 1 has grade 2, one with
    3/4 ≤ r < 1 grade 1, any other is not relevant. Every query thus has a document of grade 2.

Surface part
    Each concept has S synonyms, one per *dialect*. A document draws one dialect s uniformly, a query one for each of
    its concepts; each time a concept is put into words, it is the synonym of s with probability π, else a synonym
    drawn uniformly. A document has about L words: each of its concepts once, and then every word is, with probability
    ρ, a concept drawn in proportion to its salience, else one of V background words that follow Zipf's law. Its title
    is its central concepts in its dialect. A query is one word for each of its concepts and b background words, in
    random order.

The same parameters give byte-identical files.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck.registry import register

CENTRAL, MENTIONED = 1.0, 0.5
GRADE_FLOORS = {2: 1.0, 1: 0.75}
"""Least overlap of each grade."""

_CONSONANTS, _VOWELS, _LAST_VOWELS = "bdfghjklmnprstvz", "aeiou", "aou"
# No English suffix ends in a, o or u: the words pass a stemmer unchanged and stay distinct.
_OPEN = [c + v for c in _CONSONANTS for v in _VOWELS]
_LAST = [c + v for c in _CONSONANTS for v in _LAST_VOWELS]
_SHORT_WORDS = len(_OPEN) * len(_LAST)
_LONG_WORDS = len(_OPEN) * _SHORT_WORDS

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Words = NDArray[np.str_]


@register("world", "synthetic")
class World:
    """A synthetic collection with queries and graded judgments.

    Parameters
    ----------
    documents
        Number of documents. More of them give each query more relevant documents and more distractors.
    topics
        T. More topics make a query's topic tell more, and leave fewer documents in each.
    concepts
        C, concepts per topic. More of them give fewer relevant documents per query, and more words to learn.
    synonyms
        S, words per concept. The more, the less word matching finds, and the more a student has to learn.
    central
        m, central concepts per document. More of them raise the number of relevant documents.
    mentioned
        n, mentioned concepts per document. More of them raise the number of partly relevant documents.
    stray
        ε, how often a mentioned concept is of another topic. A higher value blurs the topics.
    length
        L, mean number of words of a document's text; lengths are uniform within a quarter of it.
    content
        ρ, the share of concept words in a text. A higher value makes documents easier to tell apart.
    purity
        π, how closely a text keeps to its dialect. A higher value lowers what word matching finds.
    background
        V, number of background words. More of them make rare, misleading matches more frequent.
    query_concepts
        k, concepts per query. More of them give fewer relevant documents.
    query_background
        b, background words per query. More of them mislead word matching more.
    train, dev, test
        Number of queries of each split.
    seed
        Seed of every draw.
    """

    def __init__(
        self,
        *,
        documents: int = 2000,
        topics: int = 20,
        concepts: int = 6,
        synonyms: int = 3,
        central: int = 2,
        mentioned: int = 1,
        stray: float = 0.2,
        length: int = 28,
        content: float = 0.5,
        purity: float = 0.97,
        background: int = 500,
        query_concepts: int = 2,
        query_background: int = 2,
        train: int = 2000,
        dev: int = 100,
        test: int = 200,
        seed: int = 13,
    ) -> None:
        self.documents, self.seed = _at_least("documents", documents, 100), _at_least("seed", seed, 0)
        self.topics, self.concepts = _at_least("topics", topics, 2), _at_least("concepts", concepts, 2)
        self.synonyms, self.central = _at_least("synonyms", synonyms, 1), _at_least("central", central, 1)
        self.mentioned, self.length = _at_least("mentioned", mentioned, 0), _at_least("length", length, 8)
        self.stray, self.content = _share("stray", stray), _share("content", content)
        self.purity = _share("purity", purity)
        self.background = _at_least("background", background, 10)
        self.query_concepts = _at_least("query_concepts", query_concepts, 1)
        self.query_background = _at_least("query_background", query_background, 0)
        self.train, self.dev = _at_least("train", train, 1), _at_least("dev", dev, 1)
        self.test = _at_least("test", test, 1)
        _at_most("background", background, _SHORT_WORDS, "the number of two-syllable words")
        _at_most("synonyms", topics * concepts * synonyms, _LONG_WORDS, "topics x concepts x synonyms: number of words")
        _at_most("central", central + mentioned, concepts, "central + mentioned: the concepts of a topic")
        _at_most("query_concepts", query_concepts, central, "the central concepts of a document")
        _at_most("central", central + mentioned, length // 2, "central + mentioned: half the length of a document")

    def generate(self, folder: Path) -> None:
        """Write the world as a BEIR folder.

        Parameters
        ----------
        folder
            Gets ``corpus.jsonl``, ``queries.jsonl``, ``qrels/{train,dev,test}.tsv`` and ``latent.npz``, which holds
            what a synthetic teacher knows. Created where it does not exist.
        """
        rng = np.random.default_rng(self.seed)
        words, fillers = self._vocabulary(rng)
        slots, weights = self._document_concepts(rng)
        splits = self._query_concepts(rng, slots)
        asked = np.concatenate(list(splits.values()))
        document_ids = [f"d{i:0{len(str(self.documents - 1))}d}" for i in range(self.documents)]
        query_ids = [f"q{i:0{len(str(len(asked) - 1))}d}" for i in range(len(asked))]

        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        texts = self._documents(rng, slots, weights, words, fillers)
        _write_lines(
            folder / "corpus.jsonl",
            (json.dumps({"_id": i, "title": t, "text": s}) for i, (t, s) in zip(document_ids, texts, strict=True)),
        )
        _write_lines(
            folder / "queries.jsonl",
            (
                json.dumps({"_id": i, "text": text})
                for i, text in zip(query_ids, self._queries(rng, asked, words, fillers), strict=True)
            ),
        )
        start = 0
        for split, sets in splits.items():
            lines = self._judgments(query_ids[start : start + len(sets)], sets, document_ids, slots, weights)
            _write_lines(folder / "qrels" / f"{split}.tsv", lines)
            start += len(sets)
        np.savez(
            folder / "latent.npz",
            document_ids=np.array(document_ids),
            document_concepts=slots,
            document_weights=weights,
            query_ids=np.array(query_ids),
            query_concepts=asked,
            concepts_per_topic=np.array(self.concepts),
        )

    def _vocabulary(self, rng: np.random.Generator) -> tuple[Words, Words]:
        """Return the words of each concept, one column per dialect, and background words; the two differ in length."""
        total = self.topics * self.concepts
        rest, last = np.divmod(rng.choice(_LONG_WORDS, total * self.synonyms, replace=False), len(_LAST))
        first, second = np.divmod(rest, len(_OPEN))
        long = [_OPEN[i] + _OPEN[j] + _LAST[k] for i, j, k in zip(first, second, last, strict=True)]
        first, last = np.divmod(rng.choice(_SHORT_WORDS, self.background, replace=False), len(_LAST))
        short = [_OPEN[i] + _LAST[k] for i, k in zip(first, last, strict=True)]
        return np.array(long).reshape(total, self.synonyms), np.array(short)

    def _document_concepts(self, rng: np.random.Generator) -> tuple[Ints, Floats]:
        """Return the concepts of each document, the central ones first, and their salience."""
        width = self.central + self.mentioned
        topic = rng.integers(self.topics, size=(self.documents, 1))
        within = rng.random((self.documents, self.concepts)).argsort(axis=1)[:, :width]
        slots = topic * self.concepts + within
        astray = rng.random(slots.shape) < self.stray
        astray[:, : self.central] = False
        # A shift by 1 to T - 1 topics is uniform over the other topics. Two stray concepts of one document may share
        # a topic but not a concept: `within` separates them.
        shift = rng.integers(1, self.topics, size=slots.shape) * self.concepts
        slots = np.where(astray, (slots + shift) % (self.topics * self.concepts), slots)
        weights = np.full(slots.shape, MENTIONED, dtype=np.float32)
        weights[:, : self.central] = CENTRAL
        return slots, weights

    def _query_concepts(self, rng: np.random.Generator, slots: Ints) -> dict[str, Ints]:
        """Return the concept sets that the queries of each split ask for, each fully answered by some document."""
        chosen = [list(c) for c in combinations(range(self.central), self.query_concepts)]
        sets = np.unique(np.sort(slots[:, chosen].reshape(-1, self.query_concepts), axis=1), axis=0)
        # Splits share concept sets: documents that answer only test sets would be negatives in all of training, and a
        # student would learn to rank them last.
        counts = {"train": self.train, "dev": self.dev, "test": self.test}
        return {split: sets[rng.integers(len(sets), size=count)] for split, count in counts.items()}

    def _speak(self, rng: np.random.Generator, concepts: Ints, dialect: Ints, words: Words) -> Words:
        """Return words for concepts: the dialect's synonym, or with probability 1 - purity any synonym."""
        other = rng.integers(self.synonyms, size=concepts.shape)
        return words[concepts, np.where(rng.random(concepts.shape) < self.purity, dialect, other)]

    def _fill(self, rng: np.random.Generator, shape: tuple[int, int], fillers: Words) -> Words:
        """Return background words, the i-th with probability proportional to 1 / i."""
        zipf = 1.0 / np.arange(1, self.background + 1)
        return fillers[rng.choice(self.background, size=shape, p=zipf / zipf.sum())]

    def _documents(
        self,
        rng: np.random.Generator,
        slots: Ints,
        weights: Floats,
        words: Words,
        fillers: Words,
    ) -> Iterator[tuple[str, str]]:
        """Yield title and text of each document."""
        width, count = slots.shape[1], len(slots)
        lengths = rng.integers(self.length - self.length // 4, self.length + self.length // 4 + 1, size=(count, 1))
        positions = np.arange(int(lengths.max()))[None]
        # All documents have the same weights, so one cumulative distribution serves.
        edges = np.cumsum(weights[0]) / weights[0].sum()
        slot = np.searchsorted(edges[:-1], rng.random((count, positions.shape[1])), side="right")
        slot[:, :width] = np.arange(width)
        dialect = rng.integers(self.synonyms, size=(count, 1))
        spoken = self._speak(rng, np.take_along_axis(slots, slot, axis=1), dialect, words)
        about = (rng.random(spoken.shape) < self.content) | (positions < width)
        text = np.where(about, spoken, self._fill(rng, spoken.shape, fillers))
        # Shuffles the words within a document's length; the rest stays behind them.
        order = np.where(positions < lengths, rng.random(text.shape), 1.0 + positions).argsort(axis=1)
        text = np.take_along_axis(text, order, axis=1)
        title = words[slots[:, : self.central], dialect]
        for i in range(count):
            yield " ".join(title[i]).capitalize(), " ".join(text[i, : lengths[i, 0]])

    def _queries(self, rng: np.random.Generator, asked: Ints, words: Words, fillers: Words) -> Iterator[str]:
        """Yield the text of each query."""
        spoken = self._speak(rng, asked, rng.integers(self.synonyms, size=asked.shape), words)
        text = np.concatenate([spoken, self._fill(rng, (len(asked), self.query_background), fillers)], axis=1)
        for row in np.take_along_axis(text, rng.random(text.shape).argsort(axis=1), axis=1):
            yield " ".join(row)

    def _judgments(
        self, query_ids: list[str], asked: Ints, document_ids: list[str], slots: Ints, weights: Floats
    ) -> Iterator[str]:
        """Yield the lines of a qrels file: the header, then the positive grades."""
        salience = np.zeros((self.topics * self.concepts, len(slots)), dtype=np.float32)
        salience[slots, np.arange(len(slots))[:, None]] = weights
        yield "query-id\tcorpus-id\tscore"
        for query_id, concepts in zip(query_ids, asked, strict=True):
            overlap = salience[concepts].mean(axis=0)
            # The tolerance is for thirds: three concepts of salience 1 need not average to exactly 1.
            grades = np.zeros(len(overlap), dtype=np.int64)
            for grade, floor in sorted(GRADE_FLOORS.items()):
                grades[overlap >= floor - 1e-6] = grade
            for row in np.flatnonzero(grades):
                yield f"{query_id}\t{document_ids[row]}\t{grades[row]}"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return value


def _at_most(name: str, value: int, most: int, why: str) -> None:
    if value > most:
        raise ValueError(f"{name} must not exceed {most} ({why}), got {value}")


def _share(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
    return value
