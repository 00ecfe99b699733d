"""Checks that the losses can use the numbers as they are."""

import numpy as np

from limbeck.inspection.seen import FEW, Finding, Seen, known, percent, severity
from limbeck.registry import register
from limbeck.scores.kinds import Values, doubtful, impossible, way_round

_ORDER = "a loss that reads the order alone (loss=ranknet, loss=rank_mse, loss=adr_mse, loss=cl_drd)"


@register("check", "probability_scale")
@severity("error")
def probability_scale(seen: Seen) -> Finding | None:
    """Catch probabilities that a loss reads as raw numbers.

    A sigmoid pushes scores of clearly relevant documents to 1 and of clearly irrelevant ones to 0: margins vanish where
    the teacher was most certain, and the student's margins are held below 1. Scores of the kinds ``similarity`` and
    ``cosine`` are not suspected for lying in [0, 1].

    Remedy
    ------
    Store logits, ln p/(1-p); or take a loss of order. For cosines, give kind=cosine.
    """
    raw, kind = seen.raw, seen.meta.get("kind")
    assert seen.pool.scores is not None
    finite = seen.pool.scores[np.isfinite(seen.pool.scores)]
    if not raw or not len(finite):
        return None
    lowest, highest = float(finite.min()), float(finite.max())
    within = 0 <= lowest < highest <= 1
    recorded = kind in ("probability", "softmax")
    if not recorded and not (within and kind not in ("similarity", "cosine")):
        return None
    said = "are recorded as probabilities" if recorded else "look like probabilities"
    return Finding(
        f"the scores {said}: {'all' if within else 'they'} lie in [{lowest:.4g}, {highest:.4g}], median "
        f"{np.median(finite):.4g}, and {_named(raw)} reads raw numbers",
        f"score or import logits, ln p/(1-p), instead; or choose {_ORDER}; or, if they are cosines, import "
        "them with kind=cosine",
    )


@register("check", "kind_of_number")
@severity("error")
def kind_of_number(seen: Seen) -> Finding | None:
    """Catch scores that cannot be, or hardly are, of the kind recorded with them.

    An unrecorded sigmoid, softmax or temperature changes what all losses but those of order learn: margins shrink to
    nothing, a softmax is taken twice.

    Remedy
    ------
    Record the right kind: ``kind=`` and ``scale=`` of ``limbeck import``.
    """
    kind, scores = seen.meta.get("kind") or "unknown", seen.pool.scores
    assert scores is not None
    values = Values.of(scores[np.isfinite(scores)])
    why = impossible(kind, seen.meta.get("scale"), values) or doubtful(kind, values)
    return None if why is None else Finding(f"kind={kind} is recorded, but {why}", way_round(values))


@register("check", "softmax_again")
@severity("warning")
def softmax_again(seen: Seen) -> Finding | None:
    """Catch scores that are a softmax over the list already, if a loss takes another softmax of them.

    The second one is nearly flat, whatever the teacher's scores: probabilities of a list differ by at most 1.

    Remedy
    ------
    Store the logits, or ln p: at teacher_temperature=1 its softmax is p again.
    """
    look = (seen.meta.get("values") or {}).get("look_like")
    losses = [name for names in seen.temperatures.values() for name in names]
    if not losses or "softmax" not in (seen.meta.get("kind"), look):
        return None
    return Finding(
        f"the scores are a softmax over the list, and {_named(losses)} takes a softmax of them",
        f"score or import logits instead, or ln p, whose softmax is p again; or choose {_ORDER}",
    )


@register("check", "raw_scale")
@severity("warning")
def raw_scale(seen: Seen, *, smallest: float = 0.5, largest: float = 1000.0) -> Finding | None:
    """Catch raw numbers of a scale that no student has: margins of hundredths, or of thousands.

    Squared differences of hundredths give no gradient compared with any other term; those of thousands give nothing but
    overflow, and a student whose scores are bounded can never reach them.

    Remedy
    ------
    Scale the scores where they are computed, or take a softmax with a teacher_temperature that suits.

    Parameters
    ----------
    smallest, largest
        Bounds of the median range of the scores of a list.
    """
    spread = known(seen.measures.spread)
    spread = spread[spread > 0]
    if not seen.raw or not len(spread) or smallest <= np.median(spread) <= largest:
        return None
    return Finding(
        f"the scores of a list span {float(np.median(spread)):.3g} in the median, and {_named(seen.raw)} reads raw "
        "numbers",
        f"scale the teacher (teacher.student.scale, for a model), or choose loss=kl with "
        f"loss.kl.teacher_temperature={seen.softmax.temperature():g}, or {_ORDER}",
    )


@register("check", "min_max_trace")
@severity("error")
def min_max_trace(seen: Seen, *, share: float = 0.9) -> Finding | None:
    """Catch lists that were normalised one by one: nearly all have the same minimum and maximum.

    The scale of a query is lost: where the teacher found nothing, its least bad document looks as good as a perfect
    match elsewhere. Under a softmax at temperature 1, scores in [0, 1] are also nearly flat.

    Remedy
    ------
    Use the teacher's raw scores, and a temperature where the scale does not suit.

    Parameters
    ----------
    share
        Share of lists with the same ends; of lists of three documents or more, not more than half of them tied.
    """
    measures = seen.measures
    # Scores of few values (grades, say) have the same extremes by nature, with many documents at each.
    kept = (measures.scored >= 3) & (measures.minimum < measures.maximum) & (measures.tied <= 0.5)
    if not seen.values or kept.sum() < FEW:
        return None
    ends = np.stack([measures.minimum[kept], measures.maximum[kept]], axis=1)
    pairs, counts = np.unique(ends, axis=0, return_counts=True)
    most = int(counts.argmax())
    if counts[most] < share * kept.sum():
        return None
    low, high = pairs[most]
    return Finding(
        f"{int(counts[most]):,} of {int(kept.sum()):,} lists ({percent(counts[most] / kept.sum())}) have the minimum "
        f"{low:.6g} and the maximum {high:.6g}: each list was normalised separately",
        f"use the teacher's raw scores, with teacher_temperature for their scale; or choose {_ORDER}",
    )


@register("check", "ranks_as_scores")
@severity("error")
def ranks_as_scores(seen: Seen, *, share: float = 0.9) -> Finding | None:
    """Catch scores computed from ranks (100, 99, 98, … or 1/rank): nearly all lists have the same five highest.

    The distances between such scores say nothing about relevance, but a softmax or a margin copies them.

    Remedy
    ------
    Take a loss of order.

    Parameters
    ----------
    share
        Share of lists, of those with five documents or more, with the same five highest scores.
    """
    if not seen.values:
        return None
    recorded = seen.meta.get("kind") == "rank"
    top = seen.measures.top
    top = top[(np.diff(top, axis=1) < 0).all(axis=1)]
    rows, counts = np.unique(top, axis=0, return_counts=True)
    same = len(top) >= FEW and counts.max() >= share * len(top)
    if not recorded and not same:
        return None
    figures = (
        f"{int(counts.max()):,} of {len(top):,} lists ({percent(counts.max() / len(top))}) have the same highest "
        f"scores, {', '.join(f'{value:.4g}' for value in rows[counts.argmax()])}"
        if same
        else "they are recorded as ranks"
    )
    return Finding(f"the scores are ranks: {figures}; {_named(seen.values)} reads them as numbers", f"choose {_ORDER}")


@register("check", "near_one_hot")
@severity("warning")
def near_one_hot(seen: Seen, *, largest: float = 0.99, share: float = 0.5) -> Finding | None:
    """Catch a softmax that gives nearly everything to one document, at the temperature of a loss.

    The student learns which document is best and nothing of the others: the distribution becomes a single label, and a
    wrong one where the teacher errs.

    Remedy
    ------
    Raise teacher_temperature; the message says to what.

    Parameters
    ----------
    largest
        A list counts as one-hot from this largest probability on.
    share
        Share of lists that may be one-hot.
    """
    parts, flagged = [], []
    for temperature, losses in seen.temperatures.items() if len(seen.softmax) else ():
        distribution = seen.softmax.at(temperature)
        one_hot = float((distribution.largest >= largest).mean())
        if one_hot > share:
            flagged += losses
            parts.append(
                f"{_named(losses)} at teacher_temperature={temperature:g}: {percent(one_hot)} of lists give "
                f"{largest:g} or more to one document, median entropy {distribution.median:.3f} of ln L"
            )
    return Finding("; ".join(parts), _temperature(seen, flagged)) if parts else None


@register("check", "near_flat")
@severity("warning")
def near_flat(seen: Seen, *, entropy: float = 0.99, share: float = 0.5) -> Finding | None:
    """Catch a softmax that is nearly the same for all documents, at the temperature of a loss.

    The student learns that everything is equally good. This happens with cosines, probabilities and min-max normalised
    scores at temperature 1.

    Remedy
    ------
    Lower teacher_temperature; the message says to what.

    Parameters
    ----------
    entropy
        A list counts as flat from this entropy on, as a share of ln L, that of the uniform distribution.
    share
        Share of lists that may be flat.
    """
    parts, flagged = [], []
    for temperature, losses in seen.temperatures.items() if len(seen.softmax) else ():
        distribution = seen.softmax.at(temperature)
        flat = float((distribution.entropy >= entropy).mean())
        if flat > share:
            flagged += losses
            parts.append(
                f"{_named(losses)} at teacher_temperature={temperature:g}: {percent(flat)} of lists have an entropy of "
                f"{entropy:g} ln L or more, median {distribution.median:.4f}; the scores of a list span "
                f"{float(np.median(known(seen.measures.spread))):.3g}"
            )
    return Finding("; ".join(parts), _temperature(seen, flagged)) if parts else None


def _temperature(seen: Seen, losses: list[str]) -> str:
    proposed = seen.softmax.temperature()
    options = " ".join(f"loss.{name}.teacher_temperature={proposed:g}" for name in losses)
    return f"{options} (the median entropy is then {seen.softmax.at(proposed).median:.2f} of ln L)"


def _named(losses: list[str]) -> str:
    return " and ".join(f"loss.{name}" for name in losses)
