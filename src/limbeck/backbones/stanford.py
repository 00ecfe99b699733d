"""Model folders of ColBERT's original code: a transformer with ``linear.weight``, and ``artifact.metadata``.

Source: ``colbert/modeling/hf_colbert.py`` and ``colbert/infra/config`` of stanford-futuredata/ColBERT.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

CLASS = "HF_ColBERT"
"""Architecture in ``config.json``."""
METADATA = "artifact.metadata"
LINEAR = "linear.weight"


def is_stanford(folder: Path) -> bool:
    """Return whether a folder was written by ColBERT's original code."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # loading it raises the error
        return False
    return isinstance(config, dict) and CLASS in (config.get("architectures") or [])


def projection(folder: Path) -> "Tensor":
    """Return the (D, H) weight of the linear layer; raise ``ConfigError`` if it is missing or damaged."""
    import torch  # composing a configuration must not import it
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
