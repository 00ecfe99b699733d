"""From a ranker to a run: exact search over all documents, or re-ranking of a first stage."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from limbeck.encodings import Rows
from limbeck.evaluation.runs import cut
from limbeck.inference import BiEncoder, Ranker, blocks, encode, products, score_lists
from limbeck.text.collate import Collator
from limbeck.types import Ranking, Run, order


def search(
    ranker: BiEncoder,
    collator: Collator,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    depth: int,
    *,
    bf16: bool = False,
) -> Run:
    """Rank all documents for each query, exactly.

    The corpus is encoded block by block, and only the best of each block are kept: memory does not grow with it.

    Parameters
    ----------
    ranker, collator
        A separable ranker and the collator that knows its texts.
    query_ids, document_ids
        What to search for and in.
    depth
        Documents kept for each query.
    bf16
        Encode under bfloat16 autocast.
    """
    queries = encode(ranker, collator, query_ids, "query", bf16=bf16)
    pieces = ((block, encode(ranker, collator, block, "document", bf16=bf16)) for block in blocks(document_ids))
    return nearest(ranker, query_ids, queries, pieces, depth)


def nearest(
    ranker: BiEncoder,
    query_ids: Sequence[str],
    queries: Rows,
    pieces: Iterable[tuple[Sequence[str], Rows]],
    depth: int,
) -> Run:
    """Rank encoded documents for encoded queries, exactly.

    Parameters
    ----------
    ranker
        Says how similar they are.
    query_ids, queries
        Ids and their encodings.
    pieces
        The collection piece by piece: ids and their encodings.
    depth
        Documents kept for each query.
    """
    best: list[tuple[list[str], np.ndarray]] = [([], np.empty(0, dtype=np.float32)) for _ in query_ids]
    for block, documents in pieces:
        # One more than asked for, so that a tie at the border is broken by document id, not by position.
        values, positions = products(ranker, queries, documents).topk(min(depth + 1, len(block)), dim=1)
        for i, (row, row_scores) in enumerate(zip(positions.tolist(), values.cpu().numpy(), strict=True)):
            ids, kept = best[i]
            found: list[str] = [block[int(j)] for j in row]
            best[i] = order([*ids, *found], np.concatenate([kept, row_scores]), depth + 1)
    return {query: order(*found, depth) for query, found in zip(query_ids, best, strict=True)}


def rerank(ranker: Ranker, collator: Collator, candidates: Run, *, bf16: bool = False) -> Run:
    """Re-rank first-stage candidates; nothing is added or dropped.

    Parameters
    ----------
    ranker, collator
        Any ranker and the collator that knows its texts.
    candidates
        First-stage run, already cut to the depth wanted.
    bf16
        Score under bfloat16 autocast.
    """
    lists = {query: ranking.ids for query, ranking in candidates.items()}
    return ranked(lists, score_lists(ranker, collator, lists, bf16=bf16))


def ranked(lists: Mapping[str, Sequence[str]], scores: Mapping[str, np.ndarray]) -> Run:
    """Order lists by scores given in their order."""
    return {query: order(list(ids), scores[query]) for query, ids in lists.items() if ids}


def without(ranking: Ranking, document: str) -> Ranking:
    """Return a ranking without a document; those below it move up."""
    if document not in ranking.ids:
        return ranking
    place = ranking.ids.index(document)
    return Ranking(ranking.ids[:place] + ranking.ids[place + 1 :], np.delete(ranking.scores, place))


def without_own(run: Run, depth: int) -> Run:
    """Drop from each ranking the document whose id is the query's, and only then cut."""
    return cut({query: without(ranking, query) for query, ranking in run.items()}, depth)
