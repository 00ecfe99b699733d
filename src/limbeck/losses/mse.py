"""MSE: the student learns the teacher's scores."""

from torch import Tensor

from limbeck.losses.lists import average, masked
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.registry import register


@register("loss", "mse")
@on_scores(shift_invariant=False)
def mse(student: Tensor, teacher: Tensor, labels: Unread, mask: Tensor) -> Tensor:
    r"""Mean squared difference of scores, per query.

    ```math
    \frac{1}{|D|} \sum_i (s_i - t_i)^2
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.

    Returns
    -------
    Tensor
        (B,) in squared score units, ≥ 0; mean over the candidates.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Ba and Caruana, Do Deep Nets Really Need to be Deep?, NeurIPS 2014.

    Notes
    -----
    Use it if the student shall reproduce the teacher's scores themselves, as a cross-encoder may.

    It is not shift-invariant; ``margin_mse`` is.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2.0, 1.0]])
    >>> mse(student, torch.tensor([[5.0, 2.0]]), student, mask)                         # (3² + 1²) / 2
    tensor([5.])
    """
    return average(masked(student - teacher, mask).square(), mask)
