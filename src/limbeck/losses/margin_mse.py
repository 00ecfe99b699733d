"""MarginMSE: the student copies the teacher's margins between positives and negatives."""

import torch
from torch import Tensor

from limbeck.losses.lists import average, masked, split
from limbeck.losses.on_scores import on_scores
from limbeck.registry import register


@register("loss", "margin_mse")
@on_scores
def margin_mse(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    r"""Mean squared difference of margins, per query.

    ```math
    \frac{1}{|D^+||D^-|} \sum_{j \in D^+} \sum_{i \in D^-} \bigl((s_j - s_i) - (t_j - t_i)\bigr)^2
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores, the teacher's not squashed into [0, 1]; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None where there is none.

    Returns
    -------
    Tensor
        (B,) in squared score units, ≥ 0; 0 for a query without positives or without negatives.

    Raises
    ------
    ValueError
        An input or option is not as described (``limbeck.losses.on_scores``). A number that is read is not finite;
        ``limbeck.losses.finite`` says when it is NaN in the result instead.

    References
    ----------
    Hofstätter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation, 2020.

    Notes
    -----
    To train from scratch on a teacher's raw scores; the usual start of a student that ``ckl`` then refines.

    ``mse`` without its dependence on the level of the scores.

    With d = s - t the mean over pairs is the variance of d over the positives, plus that over the negatives, plus the
    squared difference of their means: no pair is formed, so time and memory grow with L, not with L².

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2.0, 1.0]])
    >>> margin_mse(student, torch.tensor([[5.0, 1.0]]), torch.tensor([[1, 0]]), mask)   # (1 - 4)²
    tensor([9.])
    """
    d = masked(student - teacher, mask)
    positive, negative = split(labels, mask)
    means = average(d, positive).unsqueeze(-1), average(d, negative).unsqueeze(-1)
    variances = average((d - means[0]).square(), positive) + average((d - means[1]).square(), negative)
    value = variances + (means[0] - means[1]).square().squeeze(-1)
    return torch.where(positive.any(-1) & negative.any(-1), value, 0.0)
