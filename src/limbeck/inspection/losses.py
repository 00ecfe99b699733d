"""How a loss reads teacher scores: not at all, by order, through a softmax over the list, or as raw numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from limbeck.losses.base import Loss
from limbeck.types import Batch, StudentOutput, Tokens


@dataclass(frozen=True)
class LossView:
    """How one term of the objective reads the teacher's scores.

    Parameters
    ----------
    name
        Its name under ``loss`` in the configuration.
    uses_scores
        Whether it reads them at all.
    teacher_temperature
        Temperature of its softmax over a list of teacher scores (at step 0 if it follows a schedule); None if it takes
        no softmax.
    raw_differences
        Whether it reads the numbers themselves, outside a softmax: margins, squared differences, a sigmoid.
    """

    name: str
    uses_scores: bool
    teacher_temperature: float | None = None
    raw_differences: bool = False

    @property
    def uses_values(self) -> bool:
        """Whether it reads more than the order."""
        return self.raw_differences or self.teacher_temperature is not None


def views(terms: Iterable[tuple[str, Any]]) -> list[LossView]:
    """Return how each term reads the teacher's scores.

    A loss declares in ``needs`` whether it reads the scores or their order. Whether it takes a softmax of them is found
    by a test: its value then does not change when all scores are shifted, and it has an option ``teacher_temperature``.
    So a loss of a user's package needs no entry in a list.

    Parameters
    ----------
    terms
        Pairs of a name, as under ``loss`` in the configuration, and the loss.
    """
    return [_view(name, loss) for name, loss in terms]


def _view(name: str, loss: Loss) -> LossView:
    if "teacher_scores" not in loss.needs:
        return LossView(name, uses_scores="teacher_order" in loss.needs)
    temperature = getattr(loss, "teacher_temperature", None)
    if temperature is not None and torch.allclose(_value(loss, _SCORES + 0.5), _value(loss, _SCORES)):
        return LossView(name, uses_scores=True, teacher_temperature=float(temperature))
    return LossView(name, uses_scores=True, raw_differences=True)


_SCORES = torch.tensor([[1.5, -0.5, 3.0, 0.25, -2.0, 1.0]], dtype=torch.float64)


def _value(loss: Loss, teacher: torch.Tensor) -> torch.Tensor:
    """Return the loss on a list of six documents, in float64."""
    scale = float(getattr(loss, "teacher_temperature", 1.0))  # a scale at which no softmax is one-hot or flat
    count = teacher.shape[1]
    tokens = Tokens(torch.zeros(count, 1, dtype=torch.long), torch.ones(count, 1, dtype=torch.long))
    student = torch.tensor([[0.5, 1.0, -1.0, 0.0, 2.0, -0.5]], dtype=torch.float64)
    batch = Batch(
        queries=replace(tokens, input_ids=tokens.input_ids[:1], attention_mask=tokens.attention_mask[:1]),
        documents=tokens,
        index=torch.arange(count)[None],
        mask=torch.ones(1, count, dtype=torch.bool),
        labels=torch.tensor([[1.0, 0.0, 2.0, 0.0, 0.0, 0.0]]),
        teacher_scores=teacher * scale,
        ranks=torch.arange(1.0, count + 1)[None],
    )
    vectors = torch.eye(count, dtype=torch.float64)
    with torch.no_grad():
        return loss.per_query(StudentOutput(scores=student, queries=vectors[:1], documents=vectors), batch)
