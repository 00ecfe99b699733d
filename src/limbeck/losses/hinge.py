"""Pairwise hinge: every positive scores above every negative by a margin."""

from torch import Tensor

from limbeck.losses.lists import average, split
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import differences
from limbeck.registry import register


@register("loss", "hinge")
@on_scores
def hinge(student: Tensor, teacher: Unread, labels: Tensor, mask: Tensor, *, margin: Positive = 1.0) -> Tensor:
    r"""Mean hinge over the pairs of a positive and a negative, per query.

    ```math
    \frac{1}{|D^+||D^-|} \sum_{j \in D^+} \sum_{i \in D^-} \max(0, m - (s_j - s_i))
    ```

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not read; may be None.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    margin
        m > 0 in score units; 1 is usual.

    Returns
    -------
    Tensor
        (B,) in score units, ≥ 0; 0 for a query without positives or without negatives.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Herbrich et al., Large Margin Rank Boundaries for Ordinal Regression, 2000.

    Notes
    -----
    Use it as a baseline without a teacher; pairs ordered correctly by the margin have no gradient.

    ``margin_mse`` takes each pair's margin from the teacher instead.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.75, 0.5]])
    >>> hinge(student, None, torch.tensor([[1, 0]]), mask)                              # 1 - 1/4
    tensor([0.7500])
    """
    is_positive, is_negative = split(labels, mask)
    pairs = is_positive.unsqueeze(-1) & is_negative.unsqueeze(-2)
    return average((margin - differences(student, mask)).relu(), pairs, (-1, -2))
