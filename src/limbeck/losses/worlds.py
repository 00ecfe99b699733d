"""Seeded random lists to test losses on, with ties, padding, lists without positives and with a single candidate."""

import torch
from torch import Tensor

Columns = dict[str, Tensor]
"""``student``, ``teacher``, ``labels``, ``mask`` and ``ranks``, each (B, L)."""


def world(queries: int = 4, candidates: int = 7, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Columns:
    """Return lists with one, two or no positives, some padded; padding holds arbitrary numbers."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.zeros(queries, candidates, dtype=dtype)
    labels[0, 1], labels[1, 0], labels[1, 3], labels[3, 2] = 1, 1, 3, 2
    labels[0, 3], labels[3, 5] = -1, -2  # TREC's grades of spam, which count as negatives
    mask = torch.ones(queries, candidates, dtype=torch.bool)
    mask[0, 5:], mask[2, 4:] = False, False
    labels[~mask] = 1
    ranks = torch.stack([torch.randperm(40, generator=draw)[:candidates] + 1 for _ in range(queries)])
    return {
        "student": torch.randn(queries, candidates, generator=draw, dtype=dtype) * 2,
        "teacher": torch.randn(queries, candidates, generator=draw, dtype=dtype) * 3,
        "labels": labels,
        "mask": mask,
        "ranks": ranks,
    }


def tied_world(queries: int = 5, candidates: int = 7, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Columns:
    """Return lists with ties in student, teacher and labels and several graded positives; padding holds NaN.

    The second list has no positive, the third has a single candidate, and in the fourth all student scores are equal.
    """
    draw = torch.Generator().manual_seed(seed)

    def steps(size: int, by: float) -> Tensor:
        return torch.randint(-size, size + 1, (queries, candidates), generator=draw).to(dtype) * by

    labels = torch.randint(-1, 4, (queries, candidates), generator=draw).to(dtype)
    labels[:, 0], labels[:, 1], labels[1] = 2, 0, labels[1].clamp(max=0)
    data = {"student": steps(2, 0.5), "teacher": steps(1, 1.5), "labels": labels}
    data["student"][3, :] = 0.5
    data["ranks"] = torch.stack([torch.randperm(40, generator=draw)[:candidates] + 1 for _ in range(queries)]).to(dtype)
    mask = torch.ones(queries, candidates, dtype=torch.bool)
    mask[0, 5:], mask[2, 1:], mask[3, 4:] = False, False, False
    mask[4, 2] = False  # padding may be anywhere
    for value in data.values():
        value[~mask] = torch.nan
    return {**data, "mask": mask}


def of_type(data: Columns, dtype: torch.dtype) -> Columns:
    """Return the columns with student and teacher scores converted to a dtype."""
    return {key: value.to(dtype) if key in ("student", "teacher") else value for key, value in data.items()}
