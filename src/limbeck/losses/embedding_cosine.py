"""Embedding cosine: the student's vectors turn to where the teacher's point."""

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
        (N, D) vectors, of queries or of documents, as they are compared in a search.
    teacher
        (N, D) vectors of the same texts; no gradient.

    Returns
    -------
    Tensor
        (N,) in [0, 2]; 1 for a vector of zeros, whose gradient is 0.

    Raises
    ------
    ValueError
        The inputs are not (N, D) alike, or a number is not finite; ``limbeck.losses.finite`` says when it is NaN in
        the result instead.

    References
    ----------
    Sanh et al., DistilBERT, a distilled version of BERT, 2019 (of hidden states); of vectors of texts Zhang et al.,
    Jasper and Stella: distillation of SOTA embedding models, 2025.

    Notes
    -----
    As ``embedding_mse``, where the lengths of the two models' vectors have nothing to do with one another.

    The term of the objective is query_weight · mean over the queries + document_weight · mean over the distinct
    documents of a batch. Of vectors of length 1 it is half of ``embedding_mse``.

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
        Factors ≥ 0 of the two sides.
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
