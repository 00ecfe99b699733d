"""Patch torch to initialise no parameter on the meta device, which has no numbers: the suite loads many hundred models.

Transformers makes a model there before it reads its weights. The loaded models are the same (``test_sparing.py``).
Processes that a test starts are not patched.
"""

import contextlib
from collections.abc import Iterator

from torch import nn

_RESET = {kind: kind.reset_parameters for kind in (nn.Linear, nn.Embedding, nn.LayerNorm)}


def spare_initialisation() -> None:
    """Initialise only parameters that have numbers."""
    for kind, reset in _RESET.items():
        kind.reset_parameters = _unless_meta(reset)


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Undo the patch in this context."""
    for kind, reset in _RESET.items():
        kind.reset_parameters = reset
    try:
        yield
    finally:
        spare_initialisation()


def _unless_meta(reset):
    def called(self):
        if self.weight is None or not self.weight.is_meta:
            reset(self)

    return called
