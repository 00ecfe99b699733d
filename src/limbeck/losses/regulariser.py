"""What FLOPS and L1 share: they look at embeddings, not at scores."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, at_least_float32, not_negative
from limbeck.losses.distributed import sum_over_processes
from limbeck.losses.finite import refuse
from limbeck.types import Batch, StudentOutput


class Regulariser(Loss):
    """Weighted sum of a term over the queries' embeddings and the same over the documents', with a quadratic warm-up.

    Its value at step n is min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) + document_weight · f(documents)).
    """

    needs = ("term_weights",)

    def __init__(
        self,
        *,
        weight: float,
        query_weight: float,
        document_weight: float,
        warmup_steps: int,
        gather: bool,
        schedules: Any,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.query_weight = query_weight
        self.document_weight = document_weight
        self.warmup_steps = warmup_steps
        self.gather = gather
        self.ramp = 1.0

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        for name in ("query_weight", "document_weight", "warmup_steps"):
            not_negative(name, getattr(self, name))

    def at(self, step: int) -> None:
        """Set what depends on the step."""
        super().at(step)
        self.ramp = min(1.0, (step + 1) / self.warmup_steps) ** 2 if self.warmup_steps else 1.0

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar value."""
        del batch
        assert isinstance(output.queries, Tensor), "the objective let a student without term weights pass"
        assert isinstance(output.documents, Tensor), "the objective let a student without term weights pass"
        of_queries, of_documents = self.term(output.queries), self.term(output.documents)
        return self.ramp * (self.query_weight * of_queries + self.document_weight * of_documents)

    def term(self, embeddings: Tensor) -> Tensor:
        """Return the scalar f of (N, V) embeddings."""
        raise NotImplementedError


def mean_activation(embeddings: Tensor, gather: bool) -> Tensor:
    """Return the (V,) mean of |w| over (N, V) embeddings, of this process or of all."""
    if embeddings.dim() != 2:
        raise ValueError(f"embeddings must be (N, V), one vector a text, got {tuple(embeddings.shape)}")
    refuse("embeddings", embeddings, None, ("text", "entry"), "look at what encodes these texts")
    activation = at_least_float32(embeddings).abs()
    total, count = activation.sum(0), activation.new_full((), len(activation))
    if gather:
        total, count = sum_over_processes(total), sum_over_processes(count)
    return total / count
