"""A collection shaped like MS MARCO's passages, of any size, in the places where ir_datasets has the real one.

Nothing is downloaded: ``msmarco_files.py`` lays the files of ``msmarco-passage`` and of the 13 sets of BEIR into a home
folder of ir_datasets (``IR_DATASETS_HOME``), so that commands name the real ids and take the real way. What is in them:

- **Words.** ``VOCABULARY`` types; the r-th comes with a probability in proportion to r^-``EXPONENT`` (Zipf). The first
  are English stop words, which an analysis leaves out; the others are made of one syllable or, the rarer, of two, so
  that a passage has about 87 word pieces.
- **Passages.** Lengths are log-normal, mean ``WORDS`` words, deviation ``DEVIATION``, as in MS MARCO. Each has one of
  N / ``TOPIC`` topics; a word is with a chance of ``TOPICAL`` one of the ``TOPIC_WORDS`` words of the topic.
- **Queries.** Of one positive passage each: two words of its topic, the others drawn from the passage itself; mean 6
  words. In proportion to the passages: 808,731 training queries of which 502,939 are judged, 6,980 of dev/small. The 43
  and 54 of TREC DL 2019 and 2020 are as many at any size; each has its positive with grade 3, others of its topic with
  0 to 2, and passages of other topics with 0.
- **The teacher.** ``SCORED`` raw scores a judged training query, the mean of 160 million pairs: of the positive, of
  passages of its topic, which a search finds, and of others; in Parquet files with query_id, corpus_id, score.
- **Checkpoints.** BERTs of one layer of ``WIDTH`` with ``PIECES`` word pieces, under the names that they have on the
  hub.

``train/medical``, which ir_datasets reads from a list of ids, is a share of the training queries here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PASSAGES, QUERIES, TEXTS, DEV = 8_841_823, 502_939, 808_731, 6_980
"""Of the real collection: passages, judged training queries, all training queries, queries of dev/small."""
PAIRS = 160_000_000
"""That the teacher has scored."""
VOCABULARY, EXPONENT = 200_000, 1.0
WORDS, DEVIATION, SHORTEST, LONGEST = 56, 23, 4, 250
TOPIC, TOPIC_WORDS, TOPICAL = 200, 8, 0.12
QUERY = 6
SCORED = PAIRS // QUERIES
OF_TOPIC = 150
"""Of the scored passages of a query, so many at most are of its topic."""
PIECES, ACTIVE, WIDTH = 1_000, 100, 16
"""Word pieces of the checkpoints, how many of them SPLADE weighs in a passage, and the width of the states."""
BLOCK = 100_000
BEIR = {
    "trec-covid": (171_332, 50),
    "nfcorpus": (3_633, 323),
    "nq": (2_681_468, 3_452),
    "hotpotqa": (5_233_329, 7_405),
    "fiqa": (57_638, 648),
    "arguana": (8_674, 1_406),
    "webis-touche2020/v2": (382_545, 49),
    "dbpedia-entity": (4_635_922, 400),
    "scidocs": (25_657, 1_000),
    "fever": (5_416_568, 6_666),
    "climate-fever": (5_416_593, 1_535),
    "scifact": (5_183, 300),
    "quora": (522_931, 10_000),
}
"""Documents and queries of the real sets."""
CHECKPOINTS = ("Luyu/co-condenser-marco", "Shitao/RetroMAE", "bert-base-uncased")
Ints = NDArray[np.int64]


def zipf() -> NDArray[np.float64]:
    """Return the cumulated probabilities of the words."""
    weights = np.arange(1, VOCABULARY + 1, dtype=np.float64) ** -EXPONENT
    return np.cumsum(weights / weights.sum())


@cache
def vocabulary() -> pa.Array:
    """Return the words, the most frequent first."""
    from bm25s.stopwords import STOPWORDS_EN

    syllables = [a + b + c for a in "bdfgklmnprstv" for b in "aeiou" for c in "lmnrstk"]
    made = [*syllables, *(a + b for a in syllables for b in syllables)]
    words = list(dict.fromkeys([*STOPWORDS_EN, *made]))
    return pa.array(words[:VOCABULARY])


@dataclass(frozen=True)
class Texts:
    """Texts as numbers of words: those of text i are ``words[starts[i]:starts[i + 1]]``."""

    words: Ints
    starts: Ints

    def strings(self, names: pa.Array) -> pa.Array:
        """Return them as texts."""
        lists = pa.ListArray.from_arrays(pa.array(self.starts, pa.int32()), names.take(pa.array(self.words)))
        return pc.binary_join(lists, " ")


class World:
    """The collection of one size; every part of it is drawn from the seed alone.

    Parameters
    ----------
    passages, queries
        How many passages, and how many judged training queries.
    seed
        Of everything that is drawn.
    """

    def __init__(self, passages: int, queries: int, seed: int) -> None:
        self.passages, self.queries, self.seed = passages, queries, seed
        rng = np.random.default_rng([seed, 1])
        self.cumulated, self.names = zipf(), vocabulary()
        topics = max(4, passages // TOPIC)
        self.topic_words = rng.integers(300, VOCABULARY, (topics, TOPIC_WORDS))
        self.topic = rng.integers(0, topics, passages)
        self._order = np.argsort(self.topic, kind="stable")
        self._bounds = np.searchsorted(self.topic[self._order], np.arange(topics + 1))

    def block(self, number: int) -> Texts:
        """Return passages, ``BLOCK`` of them."""
        rng = np.random.default_rng([self.seed, 2, number])
        topics = self.topic[number * BLOCK : (number + 1) * BLOCK]
        spread = np.log(1 + (DEVIATION / WORDS) ** 2)
        lengths = rng.lognormal(np.log(WORDS) - spread / 2, spread**0.5, len(topics))
        lengths = np.clip(np.rint(lengths), SHORTEST, LONGEST).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        words = self.draw(rng, int(starts[-1]))
        topical = np.flatnonzero(rng.random(len(words)) < TOPICAL)
        of = np.repeat(topics, lengths)[topical]
        words[topical] = self.topic_words[of, rng.integers(0, TOPIC_WORDS, len(topical))]
        return Texts(words, starts)

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """Return numbers of words by Zipf's law."""
        return np.minimum(np.searchsorted(self.cumulated, rng.random(count)), VOCABULARY - 1)

    def blocks(self) -> Iterator[tuple[int, Texts]]:
        """Yield all passages in blocks, each with the number of its first."""
        for number in range(-(-self.passages // BLOCK)):
            yield number * BLOCK, self.block(number)

    def asked(self, positives: Ints, first: int, texts: Texts, seed: int) -> Texts:
        """Return a query for each of some passages of a block."""
        rng = np.random.default_rng([self.seed, 3, seed, first])
        lengths = 2 + rng.poisson(QUERY - 2, len(positives))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        of = np.repeat(positives, lengths)
        begin, end = texts.starts[of - first], texts.starts[of - first + 1]
        words = texts.words[begin + (rng.random(len(of)) * (end - begin)).astype(np.int64)]
        for place in range(2):
            drawn = rng.integers(0, TOPIC_WORDS, len(positives))
            words[starts[:-1] + place] = self.topic_words[self.topic[positives], drawn]
        return Texts(words, starts)

    def same_topic(self, rng: np.random.Generator, passage: int, most: int) -> Ints:
        """Return passages of the topic of one, without it."""
        topic = self.topic[passage]
        found = self._order[self._bounds[topic] : self._bounds[topic + 1]]
        found = found[found != passage]
        return rng.permutation(found)[:most]


@dataclass
class Split:
    """Queries that are written together."""

    name: str
    ids: Ints
    positives: Ints
    texts: list[str]


def splits(world: World) -> list[Split]:
    """Return the splits, their texts to be filled in: training, training without judgment, dev, DL 2019, DL 2020."""
    rng = np.random.default_rng([world.seed, 4])
    part = world.passages / PASSAGES
    counts = {
        "train": world.queries,
        "unjudged": round(world.queries * (TEXTS - QUERIES) / QUERIES),
        "dev/small": max(20, round(DEV * part)),
        "trec-dl-2019": 43,
        "trec-dl-2020": 54,
    }
    total = sum(counts.values())
    ids = rng.permutation(np.arange(1, max(total + 1, round(1_185_869 * part))))[:total]
    positives = rng.choice(world.passages, total, replace=total > world.passages)
    bounds = np.cumsum([0, *counts.values()])
    return [
        Split(name, ids[start:end], positives[start:end], [""] * (end - start))
        for name, start, end in zip(counts, bounds, bounds[1:], strict=False)
    ]
