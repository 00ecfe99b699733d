"""The base class of FLOPS and L1, which regularise embeddings."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss
from limbeck.losses.distributed import processes, sum_over_processes
from limbeck.losses.document_keys import copies, document_keys
from limbeck.losses.finite import refuse
from limbeck.losses.lists import at_least_float32
from limbeck.types import Batch, StudentOutput


class Regulariser(Loss):
    """Weighted sum of a function f of the queries' and of the documents' embeddings, with a quadratic warm-up.

    The value at step n is min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) + document_weight · f(documents)).
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

    def at(self, step: int) -> None:
        """Set the scheduled options and the warm-up factor of a step."""
        super().at(step)
        self.ramp = min(1.0, (step + 1) / self.warmup_steps) ** 2 if self.warmup_steps else 1.0

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar value."""
        assert isinstance(output.queries, Tensor), "the objective let a student without term weights pass"
        assert isinstance(output.documents, Tensor), "the objective let a student without term weights pass"
        of_queries = self.term(output.queries)
        of_documents = self.term(output.documents, self._document_weights(batch, len(output.documents)))
        return self.ramp * (self.query_weight * of_queries + self.document_weight * of_documents)

    def term(self, embeddings: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the scalar f of (N, V) embeddings, with optional (N,) weights in the mean."""
        raise NotImplementedError

    def _document_weights(self, batch: Batch, rows: int) -> Tensor | None:
        """Return the weights of this process's documents, so that one in several processes counts once."""
        if not self.gather or processes() == 1:
            return None
        return 1 / copies(document_keys(batch, rows, gather=True))


def mean_activation(embeddings: Tensor, gather: bool, weights: Tensor | None) -> Tensor:
    """Return the (V,) weighted mean of |w| over (N, V) embeddings, of this process or of all."""
    if not isinstance(embeddings, Tensor) or embeddings.dim() != 2:
        got = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise ValueError(f"embeddings must be a tensor (N, V), one vector a text, got {got}")
    if weights is not None and weights.shape != embeddings.shape[:1]:
        raise ValueError(f"weights must be ({len(embeddings)},), one a text, got {tuple(weights.shape)}")
    refuse("embeddings", embeddings, None, ("text", "entry"), "check the model that encodes these texts")
    activation = at_least_float32(embeddings).abs()
    if weights is None:
        total, count = activation.sum(0), activation.new_full((), len(activation))
    else:
        weights = weights.to(activation.dtype)
        total, count = (
            (weights.unsqueeze(-1) * activation).sum(0),
            weights.sum(),
        )  # a product would be computed in 16 bits
    if gather:
        total, count = sum_over_processes(total), sum_over_processes(count)
    return total / count
