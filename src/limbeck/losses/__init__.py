"""Distillation losses: one function a file, whose body reads like the formula in its docstring.

>>> from limbeck.losses import ckl

imports the function ``limbeck.losses.ckl.ckl``. The package imports its modules lazily.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any

from limbeck.registry import is_registered

if TYPE_CHECKING:  # what type checkers and editors see
    from limbeck.losses.adr_mse import adr_mse as adr_mse
    from limbeck.losses.approx_ndcg import approx_ndcg as approx_ndcg
    from limbeck.losses.bce import bce as bce
    from limbeck.losses.bkl import bkl as bkl
    from limbeck.losses.ckl import ckl as ckl
    from limbeck.losses.cl_drd import cl_drd as cl_drd
    from limbeck.losses.embedding_cosine import embedding_cosine as embedding_cosine
    from limbeck.losses.embedding_mse import embedding_mse as embedding_mse
    from limbeck.losses.flops import flops as flops
    from limbeck.losses.focal_kl import focal_kl as focal_kl
    from limbeck.losses.hinge import hinge as hinge
    from limbeck.losses.info_nce import info_nce as info_nce
    from limbeck.losses.js import js as js
    from limbeck.losses.kl import kl as kl
    from limbeck.losses.kl_ll import kl_ll as kl_ll
    from limbeck.losses.l1 import l1 as l1
    from limbeck.losses.lambda_loss import lambda_loss as lambda_loss
    from limbeck.losses.list_net import list_net as list_net
    from limbeck.losses.margin_mse import margin_mse as margin_mse
    from limbeck.losses.mse import mse as mse
    from limbeck.losses.projected_kl import projected_kl as projected_kl
    from limbeck.losses.rank_mse import rank_mse as rank_mse
    from limbeck.losses.ranknet import ranknet as ranknet
    from limbeck.losses.reverse_kl import reverse_kl as reverse_kl
    from limbeck.losses.weighted_kl import weighted_kl as weighted_kl


class _Losses(ModuleType):
    # Importing a submodule sets it as an attribute of the package. For the submodule of a loss, set the loss function
    # instead, so that ``from limbeck.losses import ckl`` gives the function in whatever order modules are imported.
    def __setattr__(self, name: str, value: Any) -> None:
        function = getattr(value, name, None) if isinstance(value, ModuleType) else None
        is_loss = hasattr(function, "contract") or is_registered("loss", name)
        super().__setattr__(name, function if is_loss else value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(f"{__name__}.{name}")
        return self.__dict__[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(found.name for found in iter_modules(self.__path__))})


sys.modules[__name__].__class__ = _Losses
