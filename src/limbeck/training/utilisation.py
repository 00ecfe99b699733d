"""How much of a device a training uses: FLOPs of the model against the device's peak, and what its driver says."""

import re
from collections.abc import Sequence
from typing import Any

import torch

from limbeck.types import Batch, Tokens

PEAKS = {
    "H200": (67e12, 989e12),
    "H100": (67e12, 989e12),
    "A100": (19.5e12, 312e12),
    "L40S": (91.6e12, 362e12),
    "L4": (30.3e12, 121e12),
    "4090": (82.6e12, 165e12),
    "3090": (35.6e12, 71e12),
    "V100": (15.7e12, 125e12),
}
"""A word of a device's name → peak FLOP/s in float32 outside of tensor cores, and in 16 bits without sparsity, by the
makers' data sheets (SXM)."""


def device_name(device: torch.device) -> str:
    """Return what a device is called: the GPU's name, else its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak(name: str, precision: str) -> float | None:
    """Return the peak FLOP/s of a device by its name; None where it is not known.

    Parameters
    ----------
    name
        As ``device_name`` gives it.
    precision
        Lightning's: ``32-true`` and ``64-true`` count as float32, others as 16 bits.
    """
    known = next((values for word, values in PEAKS.items() if re.search(rf"\b{word}\b", name)), None)
    return None if known is None else known[not precision.endswith("-true")]


def busy(device: torch.device) -> float | None:
    """Return the share of the last moments in which a GPU did anything, as its driver (NVML) says; None without it."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):  # pynvml is not installed, or finds no driver
        return None


def real_tokens(batch: Batch) -> list[int]:
    """Return the lengths of all texts of a batch that a model reads, without asking the device."""
    return [length for tokens in (batch.queries, batch.documents) if tokens is not None for length in _lengths(tokens)]


def _lengths(tokens: Tokens) -> Sequence[int]:
    return [tokens.input_ids.shape[1]] * len(tokens) if tokens.lengths is None else tokens.lengths


def flops(config: Any, lengths: Sequence[int]) -> float:
    r"""Return the FLOPs that the layers of a transformer take for texts of so many tokens, forward and backward.

    ```math
    3 L \sum_n \bigl( 2 (4 D^2 + 2 D F)\, n + 4 D n^2 \bigr)
    ```

    with L layers of width D and inner width F: 2 a weight and token, and 4 · D · n a token for attention; the backward
    pass takes twice the forward pass. Embeddings, heads, norms, padding, and a third matrix of gated layers are not
    counted.

    Parameters
    ----------
    config
        Of the transformer; 0 for one without these sizes, as a table of vectors.
    lengths
        Tokens of each text.
    """
    width, inner = getattr(config, "hidden_size", 0), getattr(config, "intermediate_size", 0)
    layers = getattr(config, "num_hidden_layers", 0)
    if not (width and inner and layers):
        return 0.0
    weights = 4 * width * width + 2 * width * inner
    return 3.0 * layers * sum(2 * weights * length + 4 * width * length * length for length in lengths)
