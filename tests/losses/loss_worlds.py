"""What the loss tests share: the registry's losses and seeded batches."""

import importlib
import inspect
from typing import Any

import pytest
import torch

from limbeck.config import entries
from limbeck.types import Batch, StudentOutput, Tokens

NAMES = sorted(name for kind, name in entries() if kind == "loss")
ON_SCORES = [name for name in NAMES if name not in ("flops", "l1")]


def function(name: str) -> Any:
    return getattr(importlib.import_module(f"limbeck.losses.{name}"), name)


def module(name: str) -> type:
    kinds = entries()
    return getattr(importlib.import_module(f"limbeck.losses.{name}"), kinds["loss", name].path.rsplit(".", 1)[1])


def call(name: str, data: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """Call a loss function with the columns it reads."""
    of = function(name)
    ranks = {"ranks": data["ranks"]} if "ranks" in inspect.signature(of).parameters else {}
    return of(data["student"], data["teacher"], data["labels"], data["mask"], **ranks, **options)


def world(queries: int = 4, candidates: int = 7, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """Lists with one, two and no positives, some shorter than others; garbage under padding."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.zeros(queries, candidates, dtype=dtype)
    labels[0, 1], labels[1, 0], labels[1, 3], labels[3, 2] = 1, 1, 3, 2
    labels[0, 3], labels[3, 5] = -1, -2  # grades of spam, as TREC has them: negatives
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


def tied_world(queries: int = 5, candidates: int = 7, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """Lists in which the student, the teacher and the labels tie, with several graded positives; NaN under padding.

    The second list has no positive, the third one a single candidate, and in the fourth the student ties all.
    """
    draw = torch.Generator().manual_seed(seed)

    def steps(size: int, by: float) -> torch.Tensor:
        return torch.randint(-size, size + 1, (queries, candidates), generator=draw).to(dtype) * by

    labels = torch.randint(-1, 4, (queries, candidates), generator=draw).to(dtype)
    labels[:, 0], labels[:, 1], labels[1] = 2, 0, labels[1].clamp(max=0)
    data = {"student": steps(2, 0.5), "teacher": steps(1, 1.5), "labels": labels}
    data["student"][3, :] = 0.5
    data["ranks"] = torch.stack([torch.randperm(40, generator=draw)[:candidates] + 1 for _ in range(queries)]).to(dtype)
    mask = torch.ones(queries, candidates, dtype=torch.bool)
    mask[0, 5:], mask[2, 1:], mask[3, 4:] = False, False, False
    mask[4, 2] = False  # padding may stand anywhere
    for value in data.values():
        value[~mask] = torch.nan
    return {**data, "mask": mask}


def batch_of(data: dict[str, torch.Tensor], *, rows: int | None = None) -> Batch:
    """Wrap columns as a batch whose candidates are all distinct documents."""
    queries, candidates = data["mask"].shape
    index = torch.arange(queries * candidates).reshape(queries, candidates)
    none = torch.zeros(rows or queries * candidates, 1, dtype=torch.long)
    return Batch(
        Tokens(none, none), Tokens(none, none), index, data["mask"], data["labels"], data["teacher"], data["ranks"]
    )


def output_of(data: dict[str, torch.Tensor], width: int = 5, seed: int = 3) -> StudentOutput:
    """Wrap scores as a student's output, with embeddings that have nothing to do with them."""
    draw = torch.Generator().manual_seed(seed)
    queries, candidates = data["mask"].shape
    return StudentOutput(
        data["student"],
        torch.randn(queries, width, generator=draw, dtype=data["student"].dtype),
        torch.randn(queries * candidates, width, generator=draw, dtype=data["student"].dtype),
    )


FREE_OF_TEACHER = {"info_nce", "hinge", "lambda_loss", "approx_ndcg"}

OPTIONS = {
    "ckl": [{}, {"rank_source": "student"}, {"rank_anchor": "first"}, {"rank_anchor": "mean"}, {"reduction": "mean"}],
    "bce": [{}, {"target": "labels"}],
    "list_net": [{}, {"target": "labels"}],
    "adr_mse": [{}, {"discount": "reciprocal"}],
    "approx_ndcg": [{"temperature": 1.0}, {"gain": "linear", "temperature": 0.5}],
    "cl_drd": [{}, {"top": 1}],
}
CASES = [(name, options) for name in ON_SCORES for options in OPTIONS.get(name, [{}])]
IDS = [name + "".join(f"-{key}={value}" for key, value in options.items()) for name, options in CASES]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
"""Every loss on scores, with the options that change what it is."""


def value_and_gradient(name, data, options):
    student = data["student"].clone().requires_grad_()
    values = call(name, {**data, "student": student}, **options)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    return values.detach(), gradient
