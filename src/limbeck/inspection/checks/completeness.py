"""Checks that all scores exist, are finite, vary, and belong to this collection."""

import numpy as np

from limbeck.inspection.seen import Finding, Seen, percent, severity
from limbeck.registry import register


@register("check", "missing_scores")
@severity("warning")
def missing_scores(seen: Seen, *, share: float = 0.0) -> Finding | None:
    """Catch documents of the training lists without a teacher score.

    Such documents are dropped from the lists, and seldom at random: a teacher that scored only what its own
    first stage found leaves out exactly the hard negatives that yours finds.

    Remedy
    ------
    Score the missing pairs, or draw the candidates from what the teacher has scored.

    Parameters
    ----------
    share
        Share of pairs that may be missing.
    """
    pool = seen.pool
    assert pool.scores is not None
    missing = np.isnan(pool.scores)
    count = int(missing.sum())
    if count <= share * len(missing):
        return None
    per_query = np.add.reduceat(missing.astype(np.int64), pool.offsets[:-1])
    row = int(missing.argmax())
    query, document = _pair(seen, row)
    whole = int((per_query == np.diff(pool.offsets)).sum())
    positives = int((missing & (pool.labels > 0)).sum())
    return Finding(
        f"{count:,} of {len(missing):,} pairs ({percent(count / len(missing))}) have no teacher score, "
        f"{positives:,} of them positives; {int((per_query > 0).sum()):,} of {len(pool):,} queries lack some, "
        f"{whole:,} lack all. The first is query {query!r}, document {document!r}",
        "score the missing pairs with the teacher (limbeck score), or take candidates that it has scored",
    )


@register("check", "not_finite")
@severity("error")
def not_finite(seen: Seen) -> Finding | None:
    """Catch infinite scores.

    One infinite score makes the loss of its batch NaN, and from then on every weight of the student.

    Remedy
    ------
    Score again; infinity mostly comes from half precision or from the logarithm of a probability of 0 or 1.
    """
    assert seen.pool.scores is not None
    wrong = np.flatnonzero(np.isinf(seen.pool.scores))
    if not len(wrong):
        return None
    query, document = _pair(seen, int(wrong[0]))
    return Finding(
        f"{len(wrong):,} scores are infinite; the first is {seen.pool.scores[wrong[0]]} for query {query!r}, "
        f"document {document!r}",
        "score these pairs again in float32 or bfloat16, or clip probabilities before the logit is taken",
    )


@register("check", "constant_scores")
@severity("error")
def constant_scores(seen: Seen, *, share: float = 0.1) -> Finding | None:
    """Catch lists in which every document has the same score.

    Such a list teaches that all candidates are equally good: a softmax over it is flat, all its margins are 0.

    Remedy
    ------
    Check whether a default was written where scoring failed, texts were empty, or the scores were rounded.

    Parameters
    ----------
    share
        Share of lists that may be constant.
    """
    several = seen.measures.scored >= 2
    constant = several & (seen.measures.minimum == seen.measures.maximum)
    if not several.any() or constant.sum() <= share * several.sum():
        return None
    first = int(constant.argmax())
    return Finding(
        f"in {int(constant.sum()):,} of {int(several.sum()):,} lists ({percent(constant.sum() / several.sum())}) all "
        f"scores are the same; in that of query {seen.pool.query_ids[seen.measures.queries[first]]!r} all "
        f"{seen.measures.scored[first]} are {seen.measures.minimum[first]:.6g}",
        "check the scoring (a default where it failed? empty texts? rounding?) and score again",
    )


@register("check", "fingerprint_differs")
@severity("error")
def fingerprint_differs(seen: Seen) -> Finding | None:
    """Catch scores of another collection than the one trained on.

    Equal ids need not mean equal texts: another edition, titles or none, other preprocessing. The scores then belong to
    documents that the student does not see.

    Remedy
    ------
    Train on the collection of the scores, or score this one.
    """
    theirs, ours = seen.meta.get("collection"), seen.collection_fingerprint
    if theirs is None or ours is None or theirs == ours:
        return None
    return Finding(
        f"the scores are of the collection with fingerprint {theirs}, the data has {ours}",
        "set data.* to the collection that was scored, or score this one (limbeck score)",
    )


def _pair(seen: Seen, row: int) -> tuple[str, str]:
    query = int(np.searchsorted(seen.pool.offsets, row, side="right")) - 1
    return seen.pool.query_ids[query], seen.pool.document_ids[row].as_py()
