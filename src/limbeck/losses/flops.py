"""FLOPS: keeps sparse embeddings sparse, and evenly so."""

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
        Take the mean over the texts of all processes. Then each process has the value and, after DDP's averaging, the
        gradient of one process with the whole batch; without it, the mean over processes of their own values.
    weights
        (N,) what each text counts for in the mean, ≥ 0; None counts all alike. In a configuration with ``gather``, a
        document that c processes have encoded counts 1/c in each, so once, as in one process.

    Returns
    -------
    Tensor
        Scalar, ≥ 0, in squared activation: a smooth stand-in for the multiplications a query costs.

    Raises
    ------
    ValueError
        ``embeddings`` are not (N, V), or a number is not finite; ``limbeck.losses.finite`` says when it is NaN in
        the result instead.

    References
    ----------
    Paria et al., Minimizing FLOPs to Learn Efficient Sparse Representations, ICLR 2020; in SPLADE (Formal et al., SIGIR
    2021).

    Notes
    -----
    Beside a ranking loss, for sparse students that go into an inverted index.

    Unlike ``l1`` it presses hardest on entries of the vocabulary that are active in many texts.

    The term of the objective is min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) + document_weight ·
    f(documents)) at step n. SPLADE warms up quadratically over 50,000 steps.

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
        Factors λ_q and λ_d ≥ 0 of the two sides.
    warmup_steps
        Steps over which the value grows quadratically to its full size; 0 starts at once.
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
        """Return the scalar value of (N, V) embeddings, which may have (N,) weights in the mean."""
        return flops(embeddings, gather=self.gather, weights=weights)
