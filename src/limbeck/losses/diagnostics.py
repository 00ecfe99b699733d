"""Diagnostics of an objective on a batch, from the gradient with respect to the scores."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limbeck.losses.finite import answering_nan
from limbeck.losses.kl import kl
from limbeck.losses.lists import at_least_float32, split
from limbeck.losses.ranks import ranks_by

_SIDES = ("positive", "negative")


def diagnostics(
    scores: Tensor,
    gradient: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    mask: Tensor,
    *,
    terms: Tensor | None = None,
    depth: int = 10,
) -> dict[str, Tensor]:
    r"""Measure how an objective's gradient is distributed over the candidates, without synchronising with the device.

    The objective is a mean over queries, $`L = \frac{1}{B} \sum_b ℓ_b`$. The diagnostics use the gradient of ℓ, so they
    do not depend on the number of queries in a batch.

    Parameters
    ----------
    scores
        (B, L) student scores s.
    gradient
        (B, L) ∂L/∂s, without loss scaling and not divided by the number of accumulated batches.
    teacher
        (B, L) raw scores; None leaves out the diagnostics that need them.
    labels, mask
        (B, L).
    terms
        (B, L) terms that sum to ℓ_b over a list, 0 under padding (``limbeck.losses.on_scores``); None leaves out the
        diagnostics that need them.
    depth
        Number of ranks, from the top, in the diagnostics by rank.

    Returns
    -------
    dict[str, Tensor]
        ``positive_contribution``, ``negative_contribution``: Σ |∂ℓ/∂s| over the positives (negatives) of a query, mean
        over queries. ``negative_ratio``: negative_contribution / positive_contribution; 0 if the positives have no
        gradient. A shift-invariant loss has ratio 1 on lists with one positive.

        With terms, ``positive_terms``, ``negative_terms``: Σ |term| over the positives (negatives) of a query, mean
        over queries. ``terms_ratio``: negative_terms / positive_terms; 0 if the positives' terms are all 0.

        ``positive_by_rank``, ``negative_by_rank``: (depth,) mean |∂ℓ/∂s| of the positives (negatives) at each rank by
        the student's scores; 0 if there are none. ``positive_count_by_rank``, ``negative_count_by_rank``: (depth,)
        their numbers, to weight means over several batches.

        With a teacher, ``kl_to_teacher``: mean KL at temperature 1. ``above_teacher``: of the queries with positives,
        the share in which the student ranks its best positive strictly above the teacher's rank of that document.

    Examples
    --------
    >>> mask, gradient = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[-0.5, 0.25]])
    >>> found = diagnostics(torch.tensor([[2.0, 1.0]]), gradient, None, torch.tensor([[1, 0]]), mask)
    >>> found["negative_ratio"]
    tensor(0.5000)
    """
    return averaged(sums(scores, gradient, teacher, labels, mask, terms=terms, depth=depth))


@torch.no_grad()
def sums(
    scores: Tensor,
    gradient: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    mask: Tensor,
    *,
    terms: Tensor | None = None,
    depth: int = 10,
) -> dict[str, Tensor]:
    """Return the sums and counts for ``averaged``; add them up over batches and processes.

    Parameters
    ----------
    scores, gradient, teacher, labels, mask, terms, depth
        As in ``diagnostics``.
    """
    size = at_least_float32(gradient).abs() * len(scores)
    ranks = ranks_by(scores, mask)
    found = {"queries": size.new_full((), len(scores))}
    at_rank = ranks.unsqueeze(-1) == torch.arange(1, depth + 1, device=ranks.device)
    is_positive, is_negative = split(labels, mask)
    for side, chosen in zip(_SIDES, (is_positive, is_negative), strict=True):
        found[f"{side}_contribution"] = torch.where(chosen, size, 0.0).sum()
        if terms is not None:
            found[f"{side}_terms"] = torch.where(chosen, terms.abs(), 0.0).sum()
        here = (at_rank & chosen.unsqueeze(-1)).flatten(0, 1)
        found[f"{side}_by_rank"] = torch.where(here, size.flatten().unsqueeze(-1), 0.0).sum(0)
        found[f"{side}_count_by_rank"] = here.sum(0).to(size.dtype)
    if teacher is not None:
        with answering_nan():
            found["kl_to_teacher"] = kl(scores, teacher, labels, mask).sum()
        found["above_teacher"] = _above_teacher(ranks, ranks_by(teacher, mask), is_positive).sum().to(size.dtype)
        found["with_positives"] = is_positive.any(-1).sum().to(size.dtype)
    return found


def averaged(total: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the diagnostics from the added-up ``sums`` of one or more batches."""
    found: dict[str, Tensor] = {}
    for side in _SIDES:
        for name in (f"{side}_contribution", f"{side}_terms"):
            if name in total:
                found[name] = total[name] / total["queries"]
        counts = total[f"{side}_count_by_rank"]
        found[f"{side}_by_rank"] = total[f"{side}_by_rank"] / counts.clamp(min=1)
        found[f"{side}_count_by_rank"] = counts
    found["negative_ratio"] = _ratio(found["negative_contribution"], found["positive_contribution"])
    if "positive_terms" in found:
        found["terms_ratio"] = _ratio(found["negative_terms"], found["positive_terms"])
    if "kl_to_teacher" in total:
        found["kl_to_teacher"] = total["kl_to_teacher"] / total["queries"]
        found["above_teacher"] = total["above_teacher"] / total["with_positives"].clamp(min=1)
    return found


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)


def _above_teacher(student_ranks: Tensor, teacher_ranks: Tensor, is_positive: Tensor) -> Tensor:
    """Return (B,) bool: the student ranks its best positive above the teacher's rank of it; False without positives."""
    last = student_ranks.shape[-1] + 1
    best, place = torch.where(is_positive, student_ranks, last).min(dim=-1)
    higher = best < teacher_ranks.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return higher & is_positive.any(-1)
