"""MarginMSE: the student learns the teacher's margins between positives and negatives."""

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
        (B, L) raw scores (the teacher's without a sigmoid); the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.

    Returns
    -------
    Tensor
        (B,) in squared score units, ≥ 0; 0 for a query without positives or without negatives.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Hofstätter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation, 2020.

    Notes
    -----
    Use it to train from scratch on a teacher's raw scores; ``ckl`` usually refines a student trained like this.

    Unlike ``mse`` it is shift-invariant.

    With d = s - t, the mean over pairs is the variance of d over the positives, plus its variance over the negatives,
    plus the squared difference of the two means. Computed like this, time and memory grow with L, not with L².

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
