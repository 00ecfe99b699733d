"""Lets the loss tests import their neighbours; and the two precisions in which every law holds."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import loss_worlds


@pytest.fixture(params=["float64", "autocast"])
def dtype(request):
    """Float64; then float32 under autocast, which would make a product of matrices bfloat16 (it leaves float64 be)."""
    if request.param == "float64":
        yield torch.float64
        return
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield torch.float32


@pytest.fixture
def world(dtype):
    return partial(loss_worlds.world, dtype=dtype)


@pytest.fixture
def tied_world(dtype):
    return partial(loss_worlds.tied_world, dtype=dtype)
