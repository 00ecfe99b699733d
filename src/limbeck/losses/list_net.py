"""ListNet: cross-entropy between top-one distributions."""

from typing import Annotated, Literal

from torch import Tensor

from limbeck.losses.lists import log_softmax
from limbeck.losses.on_scores import Unless, on_scores
from limbeck.losses.ranges import Positive
from limbeck.registry import register


@register("loss", "list_net")
@on_scores
def list_net(
    student: Tensor,
    teacher: Annotated[Tensor, Unless(target="labels")],
    labels: Annotated[Tensor, Unless(target="teacher")],
    mask: Tensor,
    *,
    target: Literal["teacher", "labels"] = "teacher",
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""Cross-entropy of the student's softmax relative to the target's, per query.

    ```math
    -\sum_i p_i \ln q_i, \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores. The teacher is detached; it may be None if ``target="labels"``.
    labels
        (B, L) grades. May be None if ``target="teacher"``.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    target
        t in the formula: the ``teacher``'s scores or the ``labels``.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0. Its minimum is the entropy of the target, not 0. 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007 (k = 1).

    Notes
    -----
    Use it to compare with papers that report ListNet, or to learn grades listwise, without a teacher.

    It is ``kl`` plus the entropy of the target; with the teacher as target it has the gradient of ``kl``.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(list_net(zero, teacher, zero, mask).item(), 4)                # -ln 1/2 for any p
    0.6931
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(labels if target == "labels" else teacher, mask, teacher_temperature)
    return -log_p.exp() * log_q
