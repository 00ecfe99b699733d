"""A collection shaped like MS MARCO's passages, of any size, in the places where ir_datasets has the real one.

Nothing is downloaded: :func:`write` lays the files of ``msmarco-passage`` and of the 13 sets of BEIR into a home folder
of ir_datasets (``IR_DATASETS_HOME``), so that commands name the real ids and take the real way. What is in them:

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

import gzip
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
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
        """Return passages, :data:`BLOCK` of them."""
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


def write(home: Path, world: World, share: int) -> dict[str, Any]:
    """Write ``msmarco-passage`` into a home folder of ir_datasets.

    Parameters
    ----------
    home
        ``IR_DATASETS_HOME``.
    world
        What is written.
    share
        Training queries of ``train/medical``.

    Returns
    -------
    dict
        What was counted.
    """
    folder = home / "msmarco-passage"
    for name in ("train", "dev/small", "trec-dl-2019", "trec-dl-2020"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    found = splits(world)
    words = 0
    with (folder / "collection.tsv").open("w", encoding="utf-8") as file:
        for first, texts in world.blocks():
            words += len(texts.words)
            lines = texts.strings(world.names).to_pylist()
            file.writelines(f"{number}\t{text}\n" for number, text in enumerate(lines, first))
            for number, split in enumerate(found):
                here = np.flatnonzero((split.positives >= first) & (split.positives < first + len(lines)))
                asked = world.asked(split.positives[here], first, texts, number).strings(world.names).to_pylist()
                for place, text in zip(here.tolist(), asked, strict=True):
                    split.texts[place] = text
    train, unjudged, dev, old, new = found
    _queries(folder / "train" / "queries.tsv", train, unjudged)
    for split in (dev, old):
        _queries(folder / split.name / "queries.tsv", split)
    _queries(folder / new.name / "queries.tsv.gz", new)
    for split in (train, dev):
        judged = zip(split.ids.tolist(), split.positives.tolist(), strict=True)
        (folder / split.name / "qrels").write_text("".join(f"{query}\t0\t{found}\t1\n" for query, found in judged))
    for split in (old, new):
        (folder / split.name / "qrels").write_text("".join(_graded(world, split)))
    (folder / "medmarco.qids").write_text("".join(f"{query}\n" for query in sorted(train.ids[:share].tolist())))
    (folder / "irds_version.txt").write_text("v2")
    return {
        "passages": world.passages,
        "words a passage": words / world.passages,
        "training queries": len(train.ids),
        "of them in the share": min(share, len(train.ids)),
        "words a query": sum(len(text.split()) for text in train.texts) / len(train.texts),
        "dev queries": len(dev.ids),
    }


def _queries(path: Path, *splits: Split) -> None:
    lines = [f"{query}\t{text}" for each in splits for query, text in zip(each.ids.tolist(), each.texts, strict=True)]
    whole = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)


def _graded(world: World, split: Split) -> Iterator[str]:
    rng = np.random.default_rng([world.seed, 5, len(split.ids)])
    for query, positive in zip(split.ids.tolist(), split.positives.tolist(), strict=True):
        grades = dict.fromkeys(rng.integers(0, world.passages, 130).tolist(), 0)
        same = world.same_topic(rng, positive, 80).tolist()
        grades |= dict(zip(same, rng.choice([0, 1, 2], len(same), p=[0.5, 0.3, 0.2]).tolist(), strict=True))
        grades[positive] = 3
        yield from (f"{query} 0 {document} {grade}\n" for document, grade in grades.items())


def write_scores(folder: Path, world: World, rows: int = 5_000_000) -> int:
    """Write the teacher's raw scores as ``pair/*.parquet``; returns how many pairs there are."""
    folder.mkdir(parents=True, exist_ok=True)
    train = splits(world)[0]
    rng = np.random.default_rng([world.seed, 6])
    queries = max(1, rows // SCORED)
    pairs = 0
    for number, start in enumerate(range(0, len(train.ids), queries)):
        ids, documents, scores = [], [], []
        for query, positive in zip(
            train.ids[start : start + queries].tolist(), train.positives[start : start + queries].tolist(), strict=True
        ):
            same = world.same_topic(rng, positive, OF_TOPIC)
            others = rng.integers(0, world.passages, SCORED - 1 - len(same))
            found, places = np.unique(np.concatenate([[positive], same, others]), return_index=True)
            means = np.concatenate([[8.0], np.zeros(len(same)), np.full(len(others), -8.0)])[places]
            ids.append(np.full(len(found), query))
            documents.append(found)
            scores.append(np.clip(rng.normal(means, 2.0), -11.5, 11.5))
        columns = {"query_id": ids, "corpus_id": documents, "score": scores}
        table = pa.table({name: np.concatenate(column) for name, column in columns.items()})
        pq.write_table(table, folder / f"train-{number:05d}.parquet")
        pairs += len(table)
    return pairs


def write_beir(home: Path, seed: int, part: float) -> int:
    """Write the sets of BEIR at a part of their size as the archives they come in; returns all their documents."""
    total = 0
    for number, (name, (documents, queries)) in enumerate(BEIR.items()):
        small = World(max(150, round(documents * part)), max(5, round(queries * min(1.0, part * 10))), seed + number)
        _archive(home / "beir" / name / "source.zip", name.partition("/")[0], small)
        total += small.passages
    return total


def _archive(path: Path, inner: str, world: World) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([world.seed, 7])
    positives = rng.choice(world.passages, world.queries, replace=world.queries > world.passages)
    more = dict.fromkeys(("url", "pubmed_id", "stance", "query", "narrative", "description"), "")
    lists: dict[str, Any] = {"authors": [], "year": 2020, "cited_by": [], "references": []}
    documents, asked = [], {}
    for first, texts in world.blocks():
        strings = texts.strings(world.names).to_pylist()
        documents += [{"_id": f"d{first + place}", "title": "", "text": text} for place, text in enumerate(strings)]
        here = np.flatnonzero((positives >= first) & (positives < first + len(strings)))
        asked |= dict(
            zip(
                here.tolist(),
                world.asked(positives[here], first, texts, 0).strings(world.names).to_pylist(),
                strict=True,
            )
        )
    queries = [{"_id": f"q{place}", "text": asked[place]} for place in range(world.queries)]
    judged = "".join(f"q{place}\td{positive}\t1\n" for place, positive in enumerate(positives.tolist()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, records in (("corpus", documents), ("queries", queries)):
            whole = "".join(json.dumps({**each, "metadata": {**more, **lists}}) + "\n" for each in records)
            archive.writestr(f"{inner}/{name}.jsonl", whole)
        for split in ("test", "dev", "train"):
            archive.writestr(f"{inner}/qrels/{split}.tsv", f"query-id\tcorpus-id\tscore\n{judged}")


def write_checkpoints(folder: Path, world: World, names: Sequence[str] = CHECKPOINTS) -> None:
    """Write masked language models of one layer, in which a passage has some :data:`ACTIVE` words for SPLADE."""
    import shutil

    import torch
    from transformers import BertConfig, BertForMaskedLM

    from limbeck.backbones import mlm
    from limbeck.backbones.sources import load_tokenizer
    from limbeck.students.splade import Splade
    from limbeck.text.collate import Collator
    from limbeck.text.tokenizer import train_wordpiece

    texts = world.block(0).strings(world.names)[:20_000].to_pylist()
    place = folder / names[0]
    train_wordpiece(texts, PIECES, place)
    tokenizer = load_tokenizer(str(place))
    torch.manual_seed(world.seed)
    config = BertConfig(
        vocab_size=len(tokenizer.tokenizer), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=4 * WIDTH, max_position_embeddings=512, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    mlm.start_near_identity(model)
    _set_active(Splade(lambda task: model), Collator, tokenizer, texts[:256])
    model.save_pretrained(place)
    for name in names[1:]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(place, folder / name)


def _set_active(student: Any, collator: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Move the bias of the head so that a passage weighs :data:`ACTIVE` words in the median."""
    from limbeck.inference import encode

    known = {str(place): text for place, text in enumerate(texts)}
    read = collator(tokenizer, student.style, lambda ids: [], lambda ids: [known[name] for name in ids])
    bias = student.backbone.get_output_embeddings().bias
    bias.data += 50.0
    logits = encode(student.eval(), read, list(known), "document").take(slice(None)).expm1()
    bias.data -= logits.topk(ACTIVE, dim=1).values[:, -1].median()
