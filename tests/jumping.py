"""A clock that jumps at each look, so that a step of milliseconds seems to take minutes."""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from limbeck import progress


@contextmanager
def jumping(by: float = 70.0) -> Iterator[Callable[[], float]]:
    """Advance the clock of ``limbeck.progress`` by ``by`` seconds at each look."""
    ticks = itertools.count(step=by)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "clock", lambda: next(ticks))
        yield progress.clock


def lines(caplog: pytest.LogCaptureFixture, label: str) -> list[str]:
    """Return the logged lines of a step, without its label."""
    return [each.removeprefix(f"{label}: ") for each in caplog.messages if each.startswith(f"{label}: ")]


@contextmanager
def listening(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture the lines of progress, with a clock that jumps."""
    with caplog.at_level(logging.INFO, "limbeck"), jumping():
        yield caplog
