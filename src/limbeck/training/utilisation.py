"""Device utilisation: the model's FLOP/s relative to the device's peak, and the GPU driver's utilisation."""

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
"""Word of a device's name → peak FLOP/s in float32 (without tensor cores) and in 16 bits (without sparsity), from the
data sheets (SXM)."""


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the device's type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak(name: str, precision: str) -> float | None:
    """Return the peak FLOP/s of a device; None if it is not known.

    Parameters
    ----------
    name
        Result of ``device_name``.
    precision
        Lightning's precision; ``32-true`` and ``64-true`` use the float32 peak, others the 16-bit peak.
    """
    known = next((values for word, values in PEAKS.items() if re.search(rf"\b{word}\b", name)), None)
    return None if known is None else known[not precision.endswith("-true")]


def busy(device: torch.device) -> float | None:
    """Return the GPU utilisation by its driver (NVML), from 0 to 1; None without a driver."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):  # pynvml is not installed, or finds no driver
        return None


def real_tokens(batch: Batch) -> list[int]:
    """Return the lengths in tokens of all texts of a batch, without synchronising with the device."""
    return [length for tokens in (batch.queries, batch.documents) if tokens is not None for length in _lengths(tokens)]


def _lengths(tokens: Tokens) -> Sequence[int]:
    return [tokens.input_ids.shape[1]] * len(tokens) if tokens.lengths is None else tokens.lengths


def flops(config: Any, lengths: Sequence[int]) -> float:
    r"""Return the FLOPs of a transformer's layers for some texts, forward and backward.

    ```math
    3 L \sum_n \bigl( 2 (4 D^2 + 2 D F)\, n + 4 D n^2 \bigr)
    ```

    with L layers of width D and inner width F, and n tokens in a text: 2 FLOPs per weight and token, and 4 · D · n per
    token for attention; the backward pass takes twice the forward pass. Embeddings, heads, norms, padding, and the
    third matrix of gated layers are not counted.

    Parameters
    ----------
    config
        Configuration of the transformer. The result is 0 for a model without these sizes (static embeddings).
    lengths
        Tokens of each text.
    """
    width, inner = getattr(config, "hidden_size", 0), getattr(config, "intermediate_size", 0)
    layers = getattr(config, "num_hidden_layers", 0)
    if not (width and inner and layers):
        return 0.0
    weights = 4 * width * width + 2 * width * inner
    return 3.0 * layers * sum(2 * weights * length + 4 * width * length * length for length in lengths)
