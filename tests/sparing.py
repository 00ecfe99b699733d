"""Lightning without what it does in vain on a processor: the suite trains many hundred times in one process.

What is logged is the same, see ``test_sparing.py``; processes that a test starts log as ever.
"""

import contextlib
from collections.abc import Iterator
from functools import cache

from lightning.pytorch.trainer.connectors import callback_connector
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultMetric
from torch import Tensor

_TO, _LOAD = _ResultMetric.to, callback_connector._load_external_callbacks


def spare_lightning() -> None:
    """Leave values that are logged where they are, and look for callbacks of other packages once."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _moved, cache(_LOAD)


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Log as Lightning does."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _TO, _LOAD
    try:
        yield
    finally:
        spare_lightning()


def _moved(self, *given, **named):
    """Move a value to a device; from the processor to the processor is nowhere, but Lightning copies all beside it."""
    devices = [*given, *named.values(), *(each.device for each in vars(self).values() if isinstance(each, Tensor))]
    return self if all(str(device) == "cpu" for device in devices) else _TO(self, *given, **named)
