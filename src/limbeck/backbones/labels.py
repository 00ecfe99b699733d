"""Classifiers with two labels as scorers: the score is the difference of the logits."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def of_checkpoint(model: "PreTrainedModel", info: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the labels of a checkpoint's classifier if their number differs from the model's, else an empty list.

    Parameters
    ----------
    model
        The loaded model.
    info
        transformers' loading information.
    names
        Labels in the checkpoint's ``config.json``.
    """
    last = {f"{name}.weight" for name, _ in _last(model)}
    counts = [theirs[0] for name, theirs, ours in info["mismatched_keys"] if name in last and theirs[1:] == ours[1:]]
    if not counts:
        return []
    return list(names) if len(names) == counts[0] else [f"LABEL_{number}" for number in range(counts[0])]


def check_two(info: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the checkpoint has a classifier with two labels."""
    if labels:
        raise ValueError(
            f"labels=difference needs a classifier with two labels, not {len(labels)}: {', '.join(labels)}"
        )
    if any("classifier" in name or "score" in name for name in info["missing_keys"]):
        raise ValueError("labels=difference needs a classifier with two labels; the checkpoint has no classifier")


def subtract(model: Any) -> None:
    """Turn a classifier with two labels into one with a single label, in place: w = w₁ - w₀, b = b₁ - b₀."""
    for _, layer in _last(model):
        with torch.no_grad():
            layer.weight = nn.Parameter(layer.weight[1:] - layer.weight[:1])
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[1:] - layer.bias[:1])
        layer.out_features = 1
    model.config.num_labels = 1
    model.num_labels = 1


def _last(model: "PreTrainedModel") -> list[tuple[str, nn.Linear]]:
    """Return the layers of a sequence classifier that compute the logits, with their names."""
    if not hasattr(model, "num_labels") or "SequenceClassification" not in type(model).__name__:
        return []
    inside = {id(layer) for layer in model.base_model.modules()}
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and id(layer) not in inside and layer.out_features == model.config.num_labels
    ]
