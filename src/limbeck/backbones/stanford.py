"""Folders of ColBERT's own code: a transformer, ``linear.weight`` among its weights, and ``artifact.metadata``.

Source: ``colbert/modeling/hf_colbert.py`` and ``colbert/infra/config`` of stanford-futuredata/ColBERT.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

CLASS = "HF_ColBERT"
"""Architecture that ``config.json`` names."""
METADATA = "artifact.metadata"
LINEAR = "linear.weight"


def is_stanford(folder: Path) -> bool:
    """Return whether a folder was written by ColBERT's own code."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # who loads it says what is wrong
        return False
    return isinstance(config, dict) and CLASS in (config.get("architectures") or [])


def projection(folder: Path) -> "Tensor":
    """Return the linear layer over the tokens, (D, H); a ``ConfigError`` if it is not there or damaged."""
    import torch  # a configuration is composed without
    from safetensors import safe_open

    from limbeck.backbones.sources import clear_errors

    path = folder / "model.safetensors"
    with clear_errors(str(folder)):
        if path.is_file():
            with safe_open(path, "pt") as weights:
                found = weights.get_tensor(LINEAR) if LINEAR in weights.keys() else None  # noqa: SIM118 - no mapping
        else:
            found = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True).get(LINEAR)
    if found is None:
        raise ConfigError(f"model: {str(folder)!r} is a ColBERT without {LINEAR}, its layer over the tokens")
    return found.float()
