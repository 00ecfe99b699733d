"""Embedding cosine: the student's vectors learn the direction of the teacher's."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from limbeck.losses.embeddings import EmbeddingLoss, compared
from limbeck.losses.ranges import Finite, NonNegative
from limbeck.registry import register


def embedding_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    r"""One minus the cosine of a student's vector and its teacher's, per text.

    ```math
    1 - \frac{\langle s, t \rangle}{\lVert s \rVert \, \lVert t \rVert}
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
        (N,) in [0, 2]; 1, with gradient 0, for a vector of zeros.

    Raises
    ------
    ValueError
        The inputs are not two (N, D) tensors of the same shape, or hold NaN or infinity (see ``limbeck.losses.finite``:
        in training and on a GPU the result is NaN instead).

    References
    ----------
    On hidden states: Sanh et al., DistilBERT, a distilled version of BERT, 2019. On text embeddings: Zhang et al.,
    Jasper and Stella: distillation of SOTA embedding models, 2025.

    Notes
    -----
    Use it like ``embedding_mse``, if the lengths of the student's and the teacher's vectors are not comparable.

    As a term of the objective: query_weight · mean over the queries + document_weight · mean over the distinct
    documents of a batch. For vectors of length 1 it is half of ``embedding_mse``.

    Examples
    --------
    >>> import torch
    >>> embedding_cosine(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [6.0, 8.0]])).abs()
    tensor([1., 0.])
    """
    ours, theirs = compared(student, teacher)
    return 1 - (F.normalize(ours, dim=-1) * F.normalize(theirs, dim=-1)).sum(-1)


@register("loss", "embedding_cosine")
class EmbeddingCosine(EmbeddingLoss):
    """``embedding_cosine`` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    query_weight, document_weight
        Weights ≥ 0 of the mean over the queries and of the mean over the documents.
    """

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
        return embedding_cosine(student, teacher)
