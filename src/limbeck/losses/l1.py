"""L1: a regulariser that keeps term weights sparse."""

from typing import Any

from torch import Tensor

from limbeck.losses.ranges import Finite, NonNegative, WholeNonNegative
from limbeck.losses.regulariser import Regulariser, mean_activation
from limbeck.registry import register


def l1(embeddings: Tensor, *, gather: bool = False, weights: Tensor | None = None) -> Tensor:
    r"""Mean L1 norm of a batch of embeddings.

    ```math
    \frac{1}{N} \sum_{n=1}^{N} \sum_{v=1}^{V} |w_{nv}|
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
        Scalar, ≥ 0, in activation.

    Raises
    ------
    ValueError
        ``embeddings`` is not (N, V), or holds NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU
        the result is NaN instead).

    References
    ----------
    Zamani et al., From Neural Re-Ranking to Neural Ranking: Learning a Sparse Representation for Inverted Indexing,
    CIKM 2018.

    Notes
    -----
    Use it with a ranking loss, for sparse students; usual for queries, with ``flops`` for documents.

    Unlike ``flops`` it penalises all vocabulary entries equally.

    As a term of the objective, at step n: min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) +
    document_weight · f(documents)). SPLADE warms up quadratically over 50,000 steps.

    Examples
    --------
    >>> import torch
    >>> l1(torch.tensor([[1.0, 0.0], [3.0, -1.0]]))            # (1 + 4) / 2
    tensor(2.5000)
    """
    return mean_activation(embeddings, gather, weights).sum()


@register("loss", "l1")
class L1(Regulariser):
    """``l1`` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    query_weight, document_weight
        Weights λ_q and λ_d ≥ 0 of the queries' value and of the documents' value.
    warmup_steps
        Steps of the quadratic warm-up; 0 for none.
    gather
        As in ``l1``.
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
        return l1(embeddings, gather=self.gather, weights=weights)
