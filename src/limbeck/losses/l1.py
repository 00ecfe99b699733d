"""L1: keeps embeddings sparse."""

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
        Take the mean over the texts of all processes. Then each process has the value and, after DDP's averaging, the
        gradient of one process with the whole batch; without it, the mean over processes of their own values.
    weights
        (N,) what each text counts for in the mean, ≥ 0; None counts all alike. In a configuration with ``gather``, a
        document that c processes have encoded counts 1/c in each, so once, as in one process.

    Returns
    -------
    Tensor
        Scalar, ≥ 0, in activation.

    Raises
    ------
    ValueError
        ``embeddings`` are not (N, V), or a number is not finite; ``limbeck.losses.finite`` says when it is NaN in
        the result instead.

    References
    ----------
    Zamani et al., From Neural Re-Ranking to Neural Ranking: Learning a Sparse Representation for Inverted Indexing,
    CIKM 2018.

    Notes
    -----
    Beside a ranking loss, for sparse students; usual for queries where ``flops`` is for documents.

    Presses on all entries of the vocabulary alike, unlike ``flops``.

    The term of the objective is min(1, ((n+1)/warmup_steps)²) · (query_weight · f(queries) + document_weight ·
    f(documents)) at step n. SPLADE warms up quadratically over 50,000 steps.

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
        Factors λ_q and λ_d ≥ 0 of the two sides.
    warmup_steps
        Steps over which the value grows quadratically to its full size; 0 starts at once.
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
        """Return the scalar value of (N, V) embeddings, which may have (N,) weights in the mean."""
        return l1(embeddings, gather=self.gather, weights=weights)
