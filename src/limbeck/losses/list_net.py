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
    r"""Cross-entropy of the student's softmax under the target's, per query.

    ```math
    -\sum_i p_i \ln q_i, \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached, and None will do with ``target="labels"``.
    labels
        (B, L) grades; read with ``target="labels"``.
    mask
        (B, L) bool, False for padding; None where there is none.
    target
        What t is: the ``teacher``'s scores or the ``labels``.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0. For the teacher as student it is the teacher's entropy, not 0; 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described (``limbeck.losses.on_scores``). A number that is read is not finite;
        ``limbeck.losses.finite`` says when it is NaN in the result instead.

    References
    ----------
    Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007 (k = 1).

    Notes
    -----
    When a paper reports ListNet, or grades instead of a teacher are to be followed listwise.

    ``kl`` plus the entropy of the target, so with the teacher its gradient is KL's.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(list_net(zero, teacher, zero, mask).item(), 4)                # -ln 1/2 whatever p
    0.6931
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(labels if target == "labels" else teacher, mask, teacher_temperature)
    return -log_p.exp() * log_q
