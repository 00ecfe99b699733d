"""What any loss does to a batch, read off the gradient of its scores."""

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
    r"""Measure where an objective pushes; nothing here waits for the device.

    The objective is the mean of a value per query, $`L = \frac{1}{B} \sum_b ℓ_b`$. What is measured is the
    gradient of ℓ, so no number depends on how many queries a batch has.

    Parameters
    ----------
    scores, gradient
        (B, L) student scores, and ∂L/∂s, the gradient of the objective with respect to them, neither scaled for mixed
        precision nor divided by the batches of an update.
    teacher
        (B, L) raw scores; None leaves out what needs them.
    labels, mask
        (B, L).
    terms
        (B, L) terms whose sum over a list is ℓ_b, 0 under padding (``limbeck.losses.on_scores``); None leaves out
        what needs them.
    depth
        Ranks that are looked at one by one.

    Returns
    -------
    dict[str, Tensor]
        ``positive_contribution``, ``negative_contribution``: Σ |∂ℓ/∂s| over the positives and over the negatives of a
        query, mean over all queries. ``negative_ratio``: the latter over the former; 0 where there is no pull on
        positives. With one positive a list it is 1 for every loss that does not change when all scores are shifted.

        With terms, ``positive_terms``, ``negative_terms``: Σ |term| over the positives and over the negatives of a
        query, mean over all queries. ``terms_ratio``: the latter over the former; 0 where the positives have none. It
        says which documents the value of the loss comes from.

        ``positive_by_rank``, ``negative_by_rank``: (depth,) mean |∂ℓ/∂s| of the positives and of the negatives at
        each rank of the student, 0 where there is none, and ``positive_count_by_rank``, ``negative_count_by_rank``,
        how many there are, by which means over many steps are to be weighted.

        With a teacher, ``kl_to_teacher``: mean KL at temperature 1. ``above_teacher``: of the queries with
        positives, the share in which the student ranks its best positive strictly higher than the teacher ranks that
        same document.

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
    """Return the sums and counts that ``averaged`` reads; they add up over batches and processes.

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
    """Return the values of ``diagnostics`` from the ``sums`` of any number of batches."""
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
    """Return (B,) bool: the student's best positive ranks higher than the teacher ranks it; False without positives."""
    last = student_ranks.shape[-1] + 1
    best, place = torch.where(is_positive, student_ranks, last).min(dim=-1)
    higher = best < teacher_ranks.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return higher & is_positive.any(-1)
