"""Distillation losses: one function a file, whose body reads like the formula in its docstring.

>>> from limbeck.losses import ckl

gives the function :func:`limbeck.losses.ckl.ckl`; nothing is imported before it is asked for.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from limbeck.registry import is_registered


class _Losses(ModuleType):
    # The import of a submodule binds it to its name here; where the submodule is that of a loss, this binds the loss,
    # so that it does not matter who has imported what before.
    def __setattr__(self, name: str, value: Any) -> None:
        function = getattr(value, name, None) if isinstance(value, ModuleType) else None
        is_loss = hasattr(function, "contract") or is_registered("loss", name)
        super().__setattr__(name, function if is_loss else value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(f"{__name__}.{name}")
        return self.__dict__[name]


sys.modules[__name__].__class__ = _Losses
