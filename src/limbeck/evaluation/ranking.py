"""From a ranker to a run: exact search over all documents, or re-ranking of a first stage."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from limbeck.compare import products
from limbeck.encodings import DType, Rows
from limbeck.evaluation.array_run import ArrayRun
from limbeck.evaluation.best import Best, Names
from limbeck.evaluation.runs import cut
from limbeck.halfway import Halfway
from limbeck.inference import BiEncoder, Ranker, blocks, encode, score_lists
from limbeck.plan import Plan
from limbeck.progress import Step
from limbeck.text.collate import Collator
from limbeck.types import Ranking, Run, order

PIECE = 2048
"""Documents or pairs that are encoded and scored at once, and the unit in which devices share work.

The same for any number of devices, so that their number does not change the results.
"""

_QUERIES = 1024
"""Queries compared with a piece at once, so that memory does not grow with their number."""

Share = tuple[int, int]
"""(i, n): share i, from 0, of n."""


class Asked(NamedTuple):
    """Queries, and a collator with their texts."""

    collator: Collator
    query_ids: Sequence[str]


def search(
    ranker: BiEncoder,
    collator: Collator,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    depth: int,
    *,
    bf16: bool = False,
    share: Share = (0, 1),
) -> Run:
    """Rank all documents for each query, exactly.

    The corpus is encoded block by block, and only the best documents of each block are kept: memory does not grow with
    the corpus.

    Parameters
    ----------
    ranker
        A ranker that encodes queries and documents separately.
    collator
        Has the ranker's tokenizer and the texts.
    query_ids
        The queries.
    document_ids
        The documents to rank.
    depth
        Documents kept for each query.
    bf16
        Encode under bfloat16 autocast.
    share
        (i, n): rank only every n-th piece of the collection, starting with the i-th.
    """
    if not query_ids:  # a process that validates has none if there are more processes than queries
        return {}
    return search_together(ranker, [Asked(collator, query_ids)], document_ids, depth, bf16=bf16, share=share)[0]


def search_together(
    ranker: BiEncoder,
    asked: Sequence[Asked],
    document_ids: Sequence[str],
    depth: int,
    *,
    bf16: bool = False,
    share: Share = (0, 1),
    dtype: DType = "float32",
    names: Names | None = None,
    halfway: Halfway | None = None,
) -> list[Run]:
    """Rank all documents for several sets of queries in one pass over the documents; otherwise as ``search``.

    The first collator reads the documents. The runs equal those of separate searches, bit by bit.

    Parameters
    ----------
    ranker, document_ids, depth, bf16, share
        As ``search`` takes them.
    asked
        The sets of queries.
    dtype
        Type of the documents' encodings.
    names
        Looks up the ids of documents by their positions; None takes them from ``document_ids``, one by one.
    halfway
        Where progress is saved; None saves nothing.

    Raises
    ------
    ValueError
        A score is NaN or infinite; the message names query and document.
    """
    collator = asked[0].collator
    collator.prepare("document", len(document_ids))
    queries = [(each.query_ids, encode(ranker, each.collator, each.query_ids, "query", bf16=bf16)) for each in asked]
    take: Names = names or (lambda rows: [document_ids[int(row)] for row in rows])
    found = [Best(len(each.query_ids), depth, take) for each in asked]
    saved = {} if halfway is None else halfway.read()
    done = int(saved.get("done", 0))
    for number, best in enumerate(found) if saved else ():
        best.restore({name: saved[f"{number}.{name}"] for name in best.state()})
    pieces = islice(enumerate(blocks(document_ids, PIECE)), share[0] + done * share[1], None, share[1])
    with Step("exact search", max(0, len(document_ids) // share[1] - done * PIECE), "documents") as step:
        for turn, (piece, block) in enumerate(pieces, done + 1):
            step.begin(len(block))
            documents = encode(ranker, collator, block, "document", bf16=bf16).stored(dtype)
            for (query_ids, encoded), best in zip(queries, found, strict=True):
                _compare(ranker, query_ids, encoded, block, documents, best, piece * PIECE)
            if halfway is not None:
                halfway.save(partial(_state, turn, found))
            step.advance(len(block))
    return [ArrayRun.of(zip(ids, best.rankings(), strict=True)) for (ids, _), best in zip(queries, found, strict=True)]


def _compare(
    ranker: BiEncoder,
    query_ids: Sequence[str],
    queries: Rows,
    document_ids: Sequence[str],
    documents: Rows,
    best: Best,
    first: int,
) -> None:
    """Offer the scores of a piece of the collection to ``best``; ``first`` is the position of the piece."""
    for start in range(0, len(query_ids), _QUERIES):
        table = products(ranker, queries.part(start, start + _QUERIES), documents)
        if not torch.isfinite(table.sum()):  # one pass over a large matrix; finding the wrong score takes several
            _check_table(table, query_ids[start : start + _QUERIES], document_ids)
        best.offer(table, start, first)


def _state(done: int, found: Sequence[Best]) -> dict[str, np.ndarray | int]:
    every = {f"{number}.{name}": value for number, best in enumerate(found) for name, value in best.state().items()}
    return {"done": done, **every}


def rerank(
    ranker: Ranker,
    collator: Collator,
    candidates: Run,
    *,
    bf16: bool = False,
    share: Share = (0, 1),
    halfway: Halfway | None = None,
) -> Run:
    """Re-rank first-stage candidates; no document is added or dropped.

    Parameters
    ----------
    ranker
        Any ranker.
    collator
        Has the ranker's tokenizer and the texts.
    candidates
        First-stage run, cut to the wanted depth.
    bf16
        Score under bfloat16 autocast.
    share
        (i, n): score only every n-th part of the candidates, starting with the i-th; the others are left out.
    halfway
        Where progress is saved; None saves nothing.
    """
    lists = {query: ranking.ids for query, ranking in candidates.items() if ranking.ids}
    scores = score_lists(ranker, collator, lists, bf16=bf16, size=PIECE, share=share, halfway=halfway)
    if share[1] == 1:
        return ranked(lists, scores)
    plan = Plan(lists, by_document=ranker.separable, size=PIECE)
    own = plan.split(plan.shared(share)) if lists else {}
    kept = {query: [d for d, mine in zip(ids, own[query], strict=True) if mine] for query, ids in lists.items()}
    return ranked(kept, {query: values[own[query]] for query, values in scores.items()})


def ranked(lists: Mapping[str, Sequence[str]], scores: Mapping[str, np.ndarray]) -> Run:
    """Rank lists by scores, given in the order of the lists."""
    return {query: order(list(ids), scores[query]) for query, ids in lists.items() if ids}


def merge(runs: Sequence[Run], depth: int | None, queries: Iterable[str] | None = None) -> ArrayRun:
    """Merge the runs of several shares: equal to the run of all shards, ties included.

    Parameters
    ----------
    runs
        The runs of the shares.
    depth
        Documents kept for each query; None keeps all.
    queries
        Order of the queries; None keeps that of the runs.
    """
    if queries is None:
        queries = dict.fromkeys(query for run in runs for query in run)

    def merged() -> Iterator[tuple[str, Ranking]]:
        for query in queries:
            parts = [part for part in (run.get(query) for run in runs) if part is not None]
            if parts:
                names = [name for part in parts for name in part.ids]
                yield query, order(names, np.concatenate([part.scores for part in parts]), depth)

    return ArrayRun.of(merged())


def check_finite(run: Run) -> None:
    """Raise ``ValueError`` for a score that is NaN or infinite; the message names query and document."""
    for query, ranking in run.items():
        wrong = np.flatnonzero(~np.isfinite(ranking.scores))
        if len(wrong):
            raise _not_finite(query, ranking.ids[wrong[0]], float(ranking.scores[wrong[0]]))


def _check_table(table: torch.Tensor, query_ids: Sequence[str], document_ids: Sequence[str]) -> None:
    wrong = (~torch.isfinite(table)).nonzero()
    if len(wrong):
        line, column = wrong[0].tolist()
        raise _not_finite(query_ids[int(line)], document_ids[int(column)], float(table[line, column]))


def _not_finite(query: str, document: str, score: float) -> ValueError:
    return ValueError(
        f"the score of document {document} for query {query} is {score}: the model computes no usable score"
    )


def without(ranking: Ranking, document: str) -> Ranking:
    """Return a ranking without a document; the documents below it move up."""
    if document not in ranking.ids:
        return ranking
    place = ranking.ids.index(document)
    return Ranking(ranking.ids[:place] + ranking.ids[place + 1 :], np.delete(ranking.scores, place))


def without_own(run: Run, depth: int) -> Run:
    """Drop from each ranking the document with the id of the query, and only then cut to ``depth``."""
    return cut({query: without(ranking, query) for query, ranking in run.items()}, depth)
