"""LoRA adapters and gradient checkpointing."""

import importlib.util
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_BASE = ".base_layer."
"""Part that peft adds to the parameter names of a wrapped layer."""


@dataclass(frozen=True)
class Lora:
    r"""Low-rank adapters, $`W x + \frac{\alpha}{r} B A x`$ with W frozen, A initially random and B initially zero.

    Parameters
    ----------
    rank
        r, the inner dimension of A (r, in) and B (out, r).
    alpha
        α of the factor α/r.
    dropout
        Dropout of x before A, in [0, 1).
    targets
        Name endings of the linear layers that get an adapter (``[query, value]``); null is all linear layers of the
        transformer's layers.

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: list[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f"lora.rank must be a whole number >= 1, got {self.rank!r}")
        if not isinstance(self.alpha, int | float) or not 0 < self.alpha < math.inf:
            raise ValueError(f"lora.alpha must be > 0, got {self.alpha!r}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout must be in [0, 1), got {self.dropout!r}")
        if self.targets is not None and not (
            isinstance(self.targets, list) and self.targets and all(isinstance(name, str) for name in self.targets)
        ):
            raise ValueError(f"lora.targets must be a list of names of layers or null, got {self.targets!r}")


def read_lora(options: Any) -> Lora | None:
    """Return the settings of ``lora={rank: 8, …}``; None for null.

    Raises
    ------
    ValueError
        The options are not a mapping, a key is unknown, a value is out of range, or peft is not installed.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise ValueError(f"lora must be null, false or options like {{rank: 8}}, got {options!r}")
    known = [field.name for field in fields(Lora)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"lora has no option {', '.join(unknown)}; its options are {', '.join(known)}")
    if importlib.util.find_spec("peft") is None:
        raise ValueError("lora needs the Python package peft, which is not installed; pip install 'limbeck[lora]'")
    return Lora(**options)


def adapt(model: "PreTrainedModel", lora: Lora, anew: Iterable[str]) -> None:
    """Freeze a model, insert adapters, and log the number of trainable parameters.

    The model keeps its class and attributes. Parameters without pretrained weights stay trainable: those in ``anew``
    and the head of a sequence classifier.

    Parameters
    ----------
    model
        The model, changed in place.
    lora
        Settings of the adapters.
    anew
        Names of parameters that are not from the checkpoint.

    Raises
    ------
    ConfigError
        A target is not a linear layer of the model, or the rank exceeds a side of its matrix.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = _targets(model, lora.targets)
    _check_rank(model, layers, lora.rank)
    fresh = set(anew)
    if hasattr(model, "num_labels") and "SequenceClassification" in type(model).__name__:
        prefix = f"{model.base_model_prefix}."
        fresh |= {name for name, _ in model.named_parameters() if not name.startswith(prefix)}
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers)  # pyright: ignore[reportArgumentType]
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if plain_name(name) in fresh:
            parameter.requires_grad_(True)
    sizes = [(parameter.requires_grad, parameter.numel()) for parameter in model.parameters()]
    log.info(
        "LoRA of rank %d in %d layers: %s of %s parameters train",
        lora.rank,
        len(layers),
        f"{sum(size for trains, size in sizes if trains):,}",
        f"{sum(size for _, size in sizes):,}",
    )


def checkpoint_gradients(model: "PreTrainedModel") -> None:
    """Turn on gradient checkpointing: the backward pass recomputes each layer's activations instead of storing them.

    Raises
    ------
    ConfigError
        The model does not support it.
    """
    if not model.supports_gradient_checkpointing:
        raise ConfigError(f"gradient_checkpointing: {type(model).__name__} does not support it; set it to false")
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # else transformers warns about it for decoders
    model.gradient_checkpointing_enable({"use_reentrant": False})


def merged_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state with its adapters merged into the layers, under the names without adapters."""
    state = module.state_dict()
    wrapped = {name: layer for name, layer in module.named_modules() if _is_adapter(layer)}
    weights = {}
    with torch.no_grad():
        for name, value in state.items():
            owner = next((path for path in _above(name) if path in wrapped), None)
            if owner is None:
                weights[name] = value
                continue
            inner = name.removeprefix(f"{owner}.")
            if inner == "base_layer.weight":
                layer: Any = wrapped[owner]
                delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
                weights[f"{owner}.weight"] = value + delta.to(value.dtype)  # pyright: ignore[reportAttributeAccessIssue]
            elif inner.startswith("base_layer."):
                weights[plain_name(name)] = value
    return weights


def plain_name(name: str) -> str:
    """Return the name that a parameter has without adapters."""
    return name.replace(_BASE, ".")


def _is_adapter(layer: nn.Module) -> bool:
    return hasattr(layer, "base_layer") and hasattr(layer, "get_delta_weight")


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _check_rank(model: "PreTrainedModel", layers: Iterable[str], rank: int) -> None:
    for name in layers:
        most = min(model.get_submodule(name).weight.shape)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        if rank > most:
            raise ConfigError(
                f"lora.rank must be <= {most}, the smaller side of the matrix of {name}: there the adapter is as large "
                f"as the layer; got {rank}"
            )


def _targets(model: "PreTrainedModel", ends: list[str] | None) -> list[str]:
    """Return the full names of the linear layers to adapt."""
    inside = {id(layer) for layer in model.base_model.modules()}
    linear = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and id(layer) in inside and "pooler" not in name.split(".")
    ]
    if ends is None:
        found = [name for name in linear if any(part.isdigit() for part in name.split("."))]
        if not found:
            raise ConfigError(f"lora.targets: {type(model).__name__} has no linear layer that could get an adapter")
        return found
    chosen = []
    for end in ends:
        found = [name for name in linear if name == end or name.endswith(f".{end}")]
        if not found:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"lora.targets: no linear layer of the model ends in {end!r}; there are {', '.join(known)}"
            )
        chosen += found
    return sorted(set(chosen))
