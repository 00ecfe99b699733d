"""What every term of the objective has: a weight, schedules, and what it needs of a batch."""

import inspect
import math
from collections.abc import Mapping
from functools import wraps
from typing import Any

from torch import Tensor, nn

from limbeck.losses.ranges import rule
from limbeck.losses.schedules import Scheduled
from limbeck.types import Batch, StudentOutput


class Loss(nn.Module):
    """Term of the objective; its value is the mean over queries of the per-query values.

    A loss on scores is a function, which ``Term`` turns into a term. A subclass is for what
    reads more than scores: it stores its options under their names, their annotations say their ranges, and ``needs``
    says which optional fields it reads, so that missing data is an error before the first step. It holds no state:
    what follows a schedule is a pure function of the step, set by ``at``, so nothing has to be checkpointed.

    Parameters
    ----------
    weight
        Factor of this term in the objective; any finite number, 0 keeps the term as a measurement.
    schedules
        Mapping from option to schedule, for any numeric option, ``weight`` too: see ``limbeck.losses.schedules``.
        Typed Any, as OmegaConf lets no command line fill a typed mapping.
    """

    needs: tuple[str, ...] = ()
    """Of ``teacher_scores``, ``teacher_order``, ``ranks``, ``embeddings`` and ``term_weights``. A loss that needs no
    more of the teacher than the order of its scores can learn from a teacher of which only the ranks can be trusted."""

    def __init__(self, *, weight: float = 1.0, schedules: Any = None) -> None:
        super().__init__()
        self.weight = weight
        self._scheduled = Scheduled({} if schedules is None else schedules)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let every constructor end with ``settle``, so that no loss can forget its checks."""
        super().__init_subclass__(**kwargs)
        constructor = cls.__dict__.get("__init__")
        if constructor is None:
            return

        @wraps(constructor)
        def construct(self: Loss, *args: Any, **kwargs: Any) -> None:
            constructor(self, *args, **kwargs)
            if type(self).__init__ is construct:
                self.settle()

        cls.__init__ = construct

    @property
    def scheduled(self) -> frozenset[str]:
        """Names of the options that follow a schedule."""
        return frozenset(self._scheduled.names)

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Option → its annotation, which says its type and range."""
        parameters = inspect.signature(type(self)).parameters.values()
        return {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}

    def settle(self) -> None:
        """Check the options, and every value the schedules give them; end at step 0. Runs after the constructor."""
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be a finite number, got {self.weight}")
        self.check()
        self._scheduled.bind(self)
        self.at(0)

    def check(self) -> None:
        """Raise ``ValueError``, beginning with the option's name, for options out of range."""
        for name, annotation in self.annotations.items():
            allowed = rule(annotation)
            if allowed is not None:
                allowed.check(name, getattr(self, name))

    def at(self, step: int) -> None:
        """Set what depends on the step; called before each step with the number of updates done so far."""
        self._scheduled.apply(self, step)

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, unweighted: the mean of ``per_query``.

        Parameters
        ----------
        output
            What the student makes of the batch: scores, embeddings.
        batch
            Teacher scores, labels, ranks and mask.
        """
        return self.per_query(output, batch).mean()

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries; ``output`` and ``batch`` as in ``forward``."""
        raise NotImplementedError

    def per_candidate(self, output: StudentOutput, batch: Batch) -> Tensor | None:
        """Return the (B, L) terms whose sums are the values of the queries; None for a loss that has none.

        ``output`` and ``batch`` are as in ``forward``.
        """
        del output, batch
        return None
