"""Embedding MSE: the student's vectors learn to equal the teacher's."""

from typing import Any

from torch import Tensor

from limbeck.losses.embeddings import EmbeddingLoss, compared
from limbeck.losses.ranges import Finite, NonNegative
from limbeck.registry import register


def embedding_mse(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared distance of a student's vector from its teacher's, per text.

    ```math
    \lVert s - t \rVert^2 = \sum_{i=1}^{D} (s_i - t_i)^2
    ```

    Parameters
    ----------
    student
        (N, D) vectors of queries or of documents, normalised if retrieval normalises them.
    teacher
        (N, D) vectors of the same texts; no gradient.

    Returns
    -------
    Tensor
        (N,), ≥ 0. For vectors of length 1 it is 2 (1 - cos), in [0, 4].

    Raises
    ------
    ValueError
        The inputs are not two (N, D) tensors of the same shape, or hold NaN or infinity (see ``limbeck.losses.finite``:
        in training and on a GPU the result is NaN instead).

    References
    ----------
    Reimers and Gurevych, Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation, EMNLP 2020;
    for retrieval: Kim et al., EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval, 2023.

    Notes
    -----
    Use it with a loss on scores if the student shall encode queries for an index that the teacher has encoded.

    As a term of the objective: query_weight · mean over the queries + document_weight · mean over the distinct
    documents of a batch. It sums over the D components: D times ``torch.nn.MSELoss``.

    Examples
    --------
    >>> import torch
    >>> embedding_mse(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [3.0, 4.0]]))
    tensor([2., 0.])
    """
    ours, theirs = compared(student, teacher)
    return (ours - theirs).square().sum(-1)


@register("loss", "embedding_mse")
class EmbeddingMSE(EmbeddingLoss):
    """``embedding_mse`` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    query_weight, document_weight
        Weights ≥ 0 of the mean over the queries and of the mean over the documents.
    """

    compares_lengths = True

    def __init__(
        self,
        *,
        weight: Finite = 1.0,
        query_weight: NonNegative = 1.0,
        document_weight: NonNegative = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, query_weight=query_weight, document_weight=document_weight, schedules=schedules)

    def term(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the (N,) values of N texts."""
        return embedding_mse(student, teacher)
