"""Binary cross-entropy: pointwise, without a softmax."""

from typing import Annotated, Literal

from torch import Tensor

from limbeck.losses.lists import average, masked
from limbeck.losses.on_scores import Unless, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import logistic
from limbeck.registry import register


@register("loss", "bce")
@on_scores(shift_invariant=False)
def bce(
    student: Tensor,
    teacher: Annotated[Tensor, Unless(target="labels")],
    labels: Annotated[Tensor, Unless(target="teacher")],
    mask: Tensor,
    *,
    target: Literal["teacher", "labels"] = "teacher",
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""Binary cross-entropy, per query.

    ```math
    \frac{1}{|D|} \sum_i -y_i \ln σ(s_i/τ_s) - (1-y_i) \ln(1 - σ(s_i/τ_s)), \quad y_i = σ(t_i/τ_t)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores, used as logits. The teacher is detached; it may be None if ``target="labels"``.
    labels
        (B, L) grades; > 0 is a positive. May be None if ``target="teacher"``.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    target
        ``teacher``: soft targets y = σ(t/τ_t). ``labels``: y = 1 for positives, else 0.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; mean over the candidates. Its minimum is the entropy of the targets, not 0.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    With labels: Nogueira and Cho, Passage Re-ranking with BERT, 2019, equation 1.

    Notes
    -----
    Use it for cross-encoder students whose scores should be probabilities.

    Like ``mse`` it is pointwise and not shift-invariant.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> round(bce(zero, torch.tensor([[3.0, 1.0]]), zero, mask).item(), 4)       # -ln 1/2 for any targets
    0.6931
    >>> round(bce(torch.tensor([[3.0, 1.0]]).log(), None, torch.tensor([[1, 0]]), mask, target="labels").item(), 4)
    0.4904
    """
    s = masked(student, mask, student_temperature)
    y = (labels > 0).to(s.dtype) if target == "labels" else masked(teacher, mask, teacher_temperature).sigmoid()
    return average(y * logistic(s) + (1 - y) * logistic(-s), mask)  # logistic(s) is -ln σ(s)
