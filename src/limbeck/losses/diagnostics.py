"""What any loss does to a batch, read off the gradient of its scores."""

import torch
from torch import Tensor

from limbeck.losses.base import at_least_float32, average, split
from limbeck.losses.finite import answering_nan
from limbeck.losses.kl import kl
from limbeck.losses.ranking import ranks_by


@torch.no_grad()
def diagnostics(
    scores: Tensor, gradient: Tensor, teacher: Tensor | None, labels: Tensor, mask: Tensor, *, depth: int = 10
) -> dict[str, Tensor]:
    """Measure where a loss pushes; nothing here waits for the device.

    Parameters
    ----------
    scores, gradient
        (B, L) student scores and the gradient of the total loss with respect to them.
    teacher
        (B, L) raw scores; None leaves out what needs them.
    labels, mask
        (B, L).
    depth
        Ranks told apart.

    Returns
    -------
    dict[str, Tensor]
        ``positive_contribution``, ``negative_contribution``: Σ |∂L/∂s| over the positives and over the negatives of
        the batch. ``negative_ratio``: the latter over the former; 0 where there is no pull on positives.

        ``positive_by_rank``, ``negative_by_rank``: (depth,) mean |∂L/∂s| of the positives and of the negatives at
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
    size = at_least_float32(gradient).abs()
    ranks = ranks_by(scores, mask)
    found: dict[str, Tensor] = {}
    at_rank = ranks.unsqueeze(-1) == torch.arange(1, depth + 1, device=ranks.device)
    sides = dict(zip(("positive", "negative"), split(labels, mask), strict=True))
    for side, chosen in sides.items():
        found[f"{side}_contribution"] = torch.where(chosen, size, 0.0).sum()
        here = (at_rank & chosen.unsqueeze(-1)).flatten(0, 1)
        found[f"{side}_by_rank"] = average(size.flatten().unsqueeze(-1), here, 0)
        found[f"{side}_count_by_rank"] = here.sum(0).to(size.dtype)
    pull, push = found["positive_contribution"], found["negative_contribution"]
    found["negative_ratio"] = torch.where(pull > 0, push / torch.where(pull > 0, pull, 1.0), 0.0)
    if teacher is not None:
        with answering_nan():
            found["kl_to_teacher"] = kl(scores, teacher, labels, mask).mean()
        found["above_teacher"] = _above_teacher(ranks, ranks_by(teacher, mask), sides["positive"])
    return found


def _above_teacher(student_ranks: Tensor, teacher_ranks: Tensor, is_positive: Tensor) -> Tensor:
    last = student_ranks.shape[-1] + 1
    best, place = torch.where(is_positive, student_ranks, last).min(dim=-1)
    higher = best < teacher_ranks.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return average(higher.to(torch.float32), is_positive.any(-1))
