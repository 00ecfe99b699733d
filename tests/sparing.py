"""Patch Lightning to skip needless work on the processor: the suite trains many hundred times in one process.

The logged values are the same (``test_sparing.py``). Processes that a test starts are not patched.
"""

import contextlib
from collections.abc import Iterator
from functools import cache

from lightning.pytorch.core import module
from lightning.pytorch.trainer.connectors import callback_connector
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultMetric
from torch import Tensor

_TO, _LOAD = _ResultMetric.to, callback_connector._load_external_callbacks
_SIGNED = module.is_param_in_hook_signature


def spare_lightning() -> None:
    """Do not copy logged values to where they are; search for other packages' callbacks and read a signature once."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _moved, cache(_LOAD)
    module.is_param_in_hook_signature = _signed


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Undo the patch in this context."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _TO, _LOAD
    module.is_param_in_hook_signature = _SIGNED
    try:
        yield
    finally:
        spare_lightning()


def _moved(self, *given, **named):
    """Move a value to a device; return it if all its tensors stay on the processor, where Lightning would copy it."""
    devices = [*given, *named.values(), *(each.device for each in vars(self).values() if isinstance(each, Tensor))]
    return self if all(str(device) == "cpu" for device in devices) else _TO(self, *given, **named)


def _signed(hook_fx, *given, **named):
    """Return whether a method has a parameter: Lightning reads the same signature at each value that is logged."""
    return _answered(getattr(hook_fx, "__func__", hook_fx), *given, **named)


_answered = cache(_SIGNED)
