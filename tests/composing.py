"""Hydra's composition without what it does in vain: the suite calls the command many hundred times in one process.

The configurations are the same, see ``test_config.py``; processes that a test starts compose as ever.
"""

import contextlib
from collections.abc import Iterator

from hydra._internal import defaults_list
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

_READ, _BUILD = Hydra.get_mode, defaults_list._create_interpolation_map
_NOTHING = OmegaConf.create({})


def compose_once() -> None:
    """Spare Hydra more than half of its work, for the rest of this process and those forked from it."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _mode, _choices


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Compose as Hydra does."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _READ, _BUILD
    try:
        yield
    finally:
        compose_once()


def _mode(self, config_name, overrides):
    """Compose a first time, to read ``hydra.mode``, only where it may be set: of our files, in those of ``sweeps``."""
    needed = any("hydra.mode" in word or word.lstrip("+").startswith("sweeps=") for word in overrides)
    return _READ(self, config_name, overrides) if needed else None


def _choices(overrides, defaults, self_added):
    """Build what interpolations in lists of defaults are looked up in only where there is one."""
    needed = any(not each.is_self() and each.is_interpolation() for each in defaults)
    return _BUILD(overrides, defaults, self_added) if needed else _NOTHING
