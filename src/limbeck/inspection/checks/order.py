"""Checks that the teacher's order differs from the first stage's, and is right."""

import numpy as np

from limbeck.inspection.measures import gather
from limbeck.inspection.seen import Finding, Seen, known, percent, severity
from limbeck.registry import register


@register("check", "ranks_of_first_stage")
@severity("error")
def ranks_of_first_stage(seen: Seen, *, share: float = 0.9) -> Finding | None:
    """Catch a teacher whose order is the first stage's.

    The student is then distilled from the first stage. Usually a wrong column or file was read.

    Remedy
    ------
    Take the teacher's own scores. If the first stage is meant to be the teacher, turn this check off.

    Parameters
    ----------
    share
        Share of lists, of those of three documents or more whose scores are not all the same, in the same order.
    """
    same = known(seen.measures.same_order)
    if not len(same) or same.mean() < share:
        return None
    return Finding(
        f"in {int(same.sum()):,} of {len(same):,} lists ({percent(same.mean())}) the teacher has the order of the "
        "first stage",
        "give the teacher's own scores: these are the first stage's, or computed from its ranks",
    )


@register("check", "permuted_scores")
@severity("error")
def permuted_scores(seen: Seen, *, share: float = 0.5) -> Finding | None:
    """Catch scores of the first stage, reassigned in the teacher's order: its first document has the best, and so on.

    Re-rankers that return an order (RankVicuna, RankGPT) write run files like this. The order is theirs, but the
    numbers belong to other documents: a softmax or margin over them copies the first stage's distribution.

    Remedy
    ------
    Use the order only.

    Parameters
    ----------
    share
        Share of scores that the first stage gave to a document of the same query, most often to another one.
    """
    if seen.first_stage_scores is None or not seen.values:
        return None
    lists = gather(seen.pool, seen.measures.queries)
    theirs = seen.first_stage_scores[lists.rows].astype(np.float32)
    ranked = np.isfinite(theirs)
    if not ranked.any():
        return None
    ours, theirs = lists.scores[ranked].astype(np.float32), theirs[ranked]
    numbers, codes = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    base = lists.segments.ids[ranked] * len(numbers)
    given = base + codes[len(ours) :]
    distinct = len(np.unique(given)) / len(given)
    taken = float(np.isin(base + codes[: len(ours)], given).mean())
    own = float((ours == theirs).mean())
    # Scores of few values (grades) coincide by chance; where nearly all belong to their document, nothing was permuted.
    if taken < share or own > 0.9 * taken or distinct < 0.5:
        return None
    return Finding(
        f"{percent(taken)} of the teacher's scores are scores of the first stage for the same query, but only "
        f"{percent(own)} belong to the same document there: these are the first stage's scores, "
        "reassigned in another order",
        "use the order only: teacher.use=ranks with a loss of order (loss=ranknet, loss=rank_mse, loss=adr_mse, "
        "loss=cl_drd)",
    )


@register("check", "positives_rarely_first")
@severity("warning")
def positives_rarely_first(seen: Seen, *, share: float = 0.1, ratio: float = 0.5) -> Finding | None:
    """Catch a teacher that seldom puts a positive first, or less often than chance, or much less than the first stage.

    This happens with distances taken for similarities, with ids that do not match, and with a teacher that does not
    suit the task; the student becomes worse than what it starts from.

    Remedy
    ------
    Check the queries that the report lists. Higher must mean better, and ids must be those of this collection.

    Parameters
    ----------
    share
        The teacher has a positive first in at least this share of lists.
    ratio
        And at least this many times as often as the first stage.
    """
    measures = seen.measures
    ranks = known(measures.teacher_rank)
    if not len(ranks):
        return None
    first = float((ranks == 1).mean())
    both = ~np.isnan(measures.teacher_rank) & ~np.isnan(measures.first_stage_rank)
    ours = float((measures.teacher_rank[both] == 1).mean()) if both.any() else 0.0
    theirs = float((measures.first_stage_rank[both] == 1).mean()) if both.any() else 0.0
    chance = float(measures.chance[~np.isnan(measures.teacher_rank)].mean())
    # Two standard errors, so that a teacher with few lists is not caught by chance.
    by_chance = chance - 2 * np.sqrt(chance * (1 - chance) / len(ranks))
    if first >= max(share, by_chance) and ours >= ratio * theirs:
        return None
    beside = f", the first stage in {percent(theirs)}" if both.any() else ""
    return Finding(
        f"the teacher has a positive first in {percent(first)} of {len(ranks):,} lists{beside}, a random order in "
        f"{percent(chance)}; the best positive is at rank {np.median(ranks):g} in the median",
        "look whether higher scores mean better (distances must be negated), whether the ids are those of this "
        "collection, and at the queries that limbeck inspect lists",
    )
