"""FLOPS: a regulariser that keeps term weights sparse and spread over the vocabulary."""

from typing import Any

from torch import Tensor

from limbeck.losses.ranges import Finite, NonNegative, WholeNonNegative
from limbeck.losses.regulariser import Regulariser, mean_activation
from limbeck.registry import register


def flops(embeddings: Tensor, *, gather: bool = False, weights: Tensor | None = None) -> Tensor:
    r"""FLOPS regulariser of a batch of embeddings.

    ```math
    \sum_{v=1}^{V} \Bigl( \frac{1}{N} \sum_{n=1}^{N} |w_{nv}| \Bigr)^2
    ```

    Parameters
    ----------
    embeddings
        (N, V) activations, of queries or of documents; N texts, V entries of the vocabulary.
    gather
        Take the mean over the texts of all processes. The value and, after DDP has averaged, the gradient are then
        those of one process with the whole batch. If False, each process takes the mean over its own texts.
    weights
        (N,) weights ≥ 0 of the texts in the mean; None weights all equally. During training with ``gather``, a document
        that c processes have encoded has weight 1/c in each, so it counts once, as in one process.

    Returns
    -------
    Tensor
        Scalar, ≥ 0, in squared activation: a smooth estimate of the multiplications that a query costs.

    Raises
    ------
    ValueError
        ``embeddings`` is not (N, V), or holds NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU
        the result is NaN instead).

    References
    ----------
    Paria et al., Minimizing FLOPs to Learn Efficient Sparse Representations, ICLR 2020; in SPLADE (Formal et al., SIGIR
    2021).

    Notes
    -----
    Use it with a ranking loss, for sparse students whose term weights go into an inverted index.

    Unlike ``l1`` it penalises most the vocabulary entries that are active in many texts.

    As a term of the objective, at step n: min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) +
    document_weight · f(documents)). SPLADE warms up quadratically over 50,000 steps.

    Examples
    --------
    >>> import torch
    >>> flops(torch.tensor([[1.0, 0.0], [3.0, 1.0]]))          # ((1+3)/2)² + (1/2)²
    tensor(4.2500)
    """
    return mean_activation(embeddings, gather, weights).square().sum()


@register("loss", "flops")
class FLOPS(Regulariser):
    """``flops`` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    query_weight, document_weight
        Weights λ_q and λ_d ≥ 0 of the queries' value and of the documents' value.
    warmup_steps
        Steps of the quadratic warm-up; 0 for none.
    gather
        As in ``flops``.
    """

    def __init__(
        self,
        *,
        weight: Finite = 1.0,
        query_weight: NonNegative = 1.0,
        document_weight: NonNegative = 1.0,
        warmup_steps: WholeNonNegative = 0,
        gather: bool = False,
        schedules: Any = None,
    ) -> None:
        super().__init__(
            weight=weight,
            query_weight=query_weight,
            document_weight=document_weight,
            warmup_steps=warmup_steps,
            gather=gather,
            schedules=schedules,
        )

    def term(self, embeddings: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the scalar value for (N, V) embeddings, with optional (N,) weights in the mean."""
        return flops(embeddings, gather=self.gather, weights=weights)
