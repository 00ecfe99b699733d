"""The base class of the objective's terms: weight, schedules and the inputs that a loss needs."""

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

    A loss on scores is a function, and ``Term`` makes it a term. Write a subclass for a loss that reads more than
    scores. A subclass stores each option as an attribute of the same name, annotates its range, and lists in ``needs``
    the optional inputs it reads, so that missing data is an error before the first step. It has no state: ``at`` sets
    scheduled options as a pure function of the step, so checkpoints need not save them.

    Parameters
    ----------
    weight
        Factor of this term in the objective: any finite number. A term of weight 0 is still computed and logged.
    schedules
        Mapping from option to schedule, for ``weight`` and any other numeric option: see ``limbeck.losses.schedules``.
        Its type is Any because OmegaConf does not let the command line add keys to a typed mapping.
    """

    needs: tuple[str, ...] = ()
    """Inputs that the loss reads, among ``teacher_scores``, ``teacher_order``, ``ranks``, ``embeddings``, ``vectors``,
    ``teacher_vectors`` and ``term_weights``. A loss that reads only the order of the teacher's scores needs
    ``teacher_order``; it also works with teachers that only rank."""

    def __init__(self, *, weight: float = 1.0, schedules: Any = None) -> None:
        super().__init__()
        self.weight = weight
        self._scheduled = Scheduled({} if schedules is None else schedules)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make every subclass's constructor call ``settle`` at its end, so that no loss forgets its checks."""
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
        """Option → annotation (its type and range)."""
        parameters = inspect.signature(type(self)).parameters.values()
        return {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}

    def settle(self) -> None:
        """Check the options at every step of their schedules, then set step 0; runs at the end of the constructor."""
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be a finite number, got {self.weight}")
        self.check()
        self._scheduled.bind(self)
        self.at(0)

    def check(self) -> None:
        """Raise ``ValueError`` if an option is out of range; the message begins with its name."""
        for name, annotation in self.annotations.items():
            allowed = rule(annotation)
            if allowed is not None:
                allowed.check(name, getattr(self, name))

    def at(self, step: int) -> None:
        """Set the scheduled options; called before each step with the number of updates so far."""
        self._scheduled.apply(self, step)

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, unweighted: the mean of ``per_query``.

        Parameters
        ----------
        output
            The student's output for the batch: scores and embeddings.
        batch
            Teacher scores, labels, ranks and mask.
        """
        return self.per_query(output, batch).mean()

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries; ``output`` and ``batch`` as in ``forward``."""
        raise NotImplementedError

    def per_candidate(self, output: StudentOutput, batch: Batch) -> Tensor | None:
        """Return the (B, L) terms that sum to the values of the queries; None if the loss has no such terms.

        ``output`` and ``batch`` are as in ``forward``.
        """
        del output, batch
        return None
