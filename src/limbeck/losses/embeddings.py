"""The base class of the losses that compare a student's embeddings with its teacher's."""

from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss
from limbeck.losses.finite import refuse
from limbeck.losses.lists import at_least_float32
from limbeck.types import Batch, StudentOutput


class EmbeddingLoss(Loss):
    """Value of a batch: query_weight · mean f(queries) + document_weight · mean f(distinct documents)."""

    needs = ("vectors", "teacher_vectors")
    compares_lengths = False
    """Whether the loss depends on the length of a vector, not only on its direction."""

    def __init__(self, *, weight: float, query_weight: float, document_weight: float, schedules: Any) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.query_weight = query_weight
        self.document_weight = document_weight

    @property
    def ties_queries(self) -> bool:
        """Whether the loss trains the student's query vectors towards the teacher's, at any step."""
        scheduled = {"weight", "query_weight"} & self.scheduled
        return bool(scheduled) or (self.weight != 0 and self.query_weight != 0)

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar value."""
        of_queries = self.term(_vectors(output.queries), _vectors(batch.teacher_queries)).mean()
        of_documents = self.term(_vectors(output.documents), _vectors(batch.teacher_documents)).mean()
        return self.query_weight * of_queries + self.document_weight * of_documents

    def term(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the (N,) values of N texts."""
        raise NotImplementedError


def _vectors(values: Any) -> Tensor:
    assert isinstance(values, Tensor), "the objective let a student or a teacher without vectors pass"
    return values


def compared(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return student and teacher vectors in float32 or better, the teacher's detached.

    Raises
    ------
    ValueError
        They are not two (N, D) tensors of the same shape, or hold NaN or infinity.
    """
    for name, values in (("student", student), ("teacher", teacher)):
        if not isinstance(values, Tensor) or values.dim() != 2:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{name} must be a tensor (N, D), one vector a text, got {got}")
    if student.shape != teacher.shape:
        raise ValueError(f"teacher must have the shape of student, {tuple(student.shape)}, got {tuple(teacher.shape)}")
    for name, values in (("student", student), ("teacher", teacher)):
        refuse(name, values, None, ("text", "component"), "check the model that encodes these texts")
    kind = torch.promote_types(student.dtype, teacher.dtype)
    return at_least_float32(student.to(kind)), at_least_float32(teacher.detach().to(kind))
