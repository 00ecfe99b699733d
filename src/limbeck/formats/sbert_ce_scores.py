"""Cross-encoder scores of sentence-transformers: a Parquet file, or the older pickle ``{qid: {pid: score}}``.

https://huggingface.co/datasets/sentence-transformers/msmarco-scores-ms-marco-MiniLM-L6-v2 (Parquet: query_id,
corpus_id, score; one row per pair, or lists per query) and cross-encoder-ms-marco-MiniLM-L-6-v2-scores.pkl.gz of
https://huggingface.co/datasets/sentence-transformers/msmarco-hard-negatives.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.formats import parquet, pickles
from limbeck.formats.base import Format, Thunk, finite, identifiers
from limbeck.formats.faults import Faults
from limbeck.registry import register
from limbeck.scores.parts import Block

_QUERIES = 4_000


@register("format", "sbert_ce_scores")
class SbertCeScores(Format):
    """160 million pairs of MS MARCO. Memory does not grow with the file, except for text ids in a pickle."""

    teacher = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    kind = "logit"
    published = ("ms-marco-MiniLM-L-6-v2", "ms-marco-MiniLM-L6-v2")
    expects = "query_id, corpus_id, score: a pair, or lists of equal length; in a pickle {qid: {pid: score}}"

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks."""
        for path in paths:
            if parquet.is_parquet(path):
                chosen = parquet.columns(path, "query", "document", "score")
                chosen.pop("rank", None)
                parquet.check_types(path, chosen)
                for rows in parquet.read(path, chosen):
                    yield partial(_rows, rows, path, faults, self.expects)
            else:
                yield from self._pickled(path, faults)

    def _pickled(self, path: Path, faults: Faults) -> Iterator[Thunk]:
        items = enumerate(pickles.items(path), 1)
        while some := list(islice(items, _QUERIES)):
            yield partial(_lists, some, path, faults, self.expects)


def _rows(rows: parquet.Rows, path: Path, faults: Faults, expects: str) -> Block:
    found = parquet.flat(rows, path, faults, expects)
    return Block(found["query"], found["document"], found["score"])


def _lists(items: list[tuple[int, tuple[Any, Any]]], path: Path, faults: Faults, expects: str) -> Block:
    queries: list[Any] = []
    documents: list[Any] = []
    scores: list[float] = []
    for position, (query, found) in items:
        problem = _problem(query, found)
        if problem:
            faults.add(path, position, problem, expects=expects)
            continue
        queries += [query] * len(found)
        documents += found
        scores += found.values()
    return Block(identifiers(queries), identifiers(documents), np.array(scores, dtype=np.float32))


def _problem(query: Any, found: Any) -> str:
    """Return what is wrong with an entry of the pickle, or an empty string."""
    if type(query) not in (int, str) or query == "":
        return f"{query!r} is no query id"
    if type(found) is not dict or not found:
        return f"query {query!r} has no documents"
    if not set(map(type, found)) <= {int, str} or "" in found:
        return f"query {query!r} has a document id that is neither a number nor a text"
    if not set(map(type, found.values())) <= {int, float} or not finite(found.values()):
        return f"query {query!r} has a score that is no finite number"
    return ""
