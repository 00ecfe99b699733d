"""What the loss tests share: the registry's losses, the lists to try them on, batches of those."""

import importlib
from typing import Any

import pytest
import torch

from limbeck.config import entries
from limbeck.losses.base import Loss
from limbeck.losses.cases import Case
from limbeck.losses.term import Term
from limbeck.losses.worlds import tied_world, world
from limbeck.types import Batch, StudentOutput, Tokens

__all__ = ["tied_world", "world"]

LOSSES = {name: entry for (kind, name), entry in sorted(entries().items()) if kind == "loss"}
NAMES = list(LOSSES)
BESIDE_SCORES = ["embedding_cosine", "embedding_mse", "flops", "l1"]
"""They read what a student makes of texts, and no scores: the laws of lists are not theirs."""
ON_SCORES = [name for name in NAMES if name not in BESIDE_SCORES]
TERMS = [name for name, entry in LOSSES.items() if entry.builder]


def function(name: str) -> Any:
    return getattr(importlib.import_module(f"limbeck.losses.{name}"), name)


def made(name: str, **options: Any) -> Loss:
    """Build the term of a loss in Python."""
    if name in TERMS:
        return Term(function(name), **options)
    path, _, kind = LOSSES[name].path.rpartition(".")
    return getattr(importlib.import_module(path), kind)(**options)


def options_of(name: str) -> dict[str, Any]:
    """Option of a term → its default."""
    return {item.name: item.default for item in LOSSES[name].parameters}


def call(name: str, data: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """Call a loss function with the columns it has parameters for."""
    return Case(function(name), options)(data)


def batch_of(data: dict[str, torch.Tensor], *, rows: int | None = None) -> Batch:
    """Wrap columns as a batch whose candidates are all distinct documents."""
    queries, candidates = data["mask"].shape
    index = torch.arange(queries * candidates).reshape(queries, candidates)
    documents = rows or queries * candidates
    none = torch.zeros(documents, 1, dtype=torch.long)
    draw, kind = torch.Generator().manual_seed(9), data["student"].dtype
    return Batch(
        Tokens(none, none), Tokens(none, none), index, data["mask"], data["labels"], data["teacher"], data["ranks"],
        teacher_queries=torch.randn(queries, WIDTH, generator=draw, dtype=kind),
        teacher_documents=torch.randn(documents, WIDTH, generator=draw, dtype=kind),
    )  # fmt: skip


WIDTH = 5
"""Components of embeddings."""


def output_of(data: dict[str, torch.Tensor], width: int = WIDTH, seed: int = 3) -> StudentOutput:
    """Wrap scores as a student's output, with embeddings that have nothing to do with them."""
    draw = torch.Generator().manual_seed(seed)
    queries, candidates = data["mask"].shape
    return StudentOutput(
        data["student"],
        torch.randn(queries, width, generator=draw, dtype=data["student"].dtype),
        torch.randn(queries * candidates, width, generator=draw, dtype=data["student"].dtype),
    )


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
    return Case(function(name), options).value_and_gradient(data)
