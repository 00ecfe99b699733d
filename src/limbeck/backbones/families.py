"""Differences between model families: depth, dropout, positions, and which families are supported."""

from typing import TYPE_CHECKING, Any

from torch import nn

from limbeck.backbones import decoders
from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "hidden_dropout",
)
"""Names of hidden-state and attention dropout in the families' configurations."""

_HEAD_DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "pooler_dropout")
"""Names of dropout before a classifier; None means hidden-state dropout."""


def check_readable(config: "PreTrainedConfig", task: str, path: str) -> None:
    """Raise ``ConfigError`` unless a model is an encoder, or a decoder that supports a task.

    Encoders are the types with a masked language model in transformers; decoders those with only a causal one.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    reason = None
    if decoders.is_decoder(config):
        decoders.check(config, task, path)
    elif getattr(config, "is_encoder_decoder", False):
        reason = "an encoder with a decoder"
    elif getattr(config, "is_decoder", False) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        reason = "neither an encoder that reads in both directions nor a decoder of text"
    if reason:
        raise ConfigError(
            f"model: {path!r} is of the type {config.model_type!r}, {reason}; choose an encoder such as BERT, "
            "RoBERTa, MPNet, DistilBERT, ELECTRA, ModernBERT or DeBERTa, or a decoder such as Qwen3, Gemma or Llama"
        )


def cut_layers(config: "PreTrainedConfig", layers: int, path: str) -> None:
    """Reduce a configuration to the first ``layers`` layers; raise ``ConfigError`` if there are fewer."""
    depth = int(config.num_hidden_layers)  # pyright: ignore[reportAttributeAccessIssue]
    if layers > depth:
        raise ConfigError(f"layers must be <= {depth}, the depth of {path}, got {layers}")
    settings: Any = config
    if getattr(config, "layer_types", None):  # ModernBERT, Qwen, Gemma: global or local attention of each layer
        settings.layer_types = settings.layer_types[:layers]
    settings.num_hidden_layers = layers


def set_dropout(config: "PreTrainedConfig", dropout: float, path: str) -> None:
    """Set all dropout rates of a configuration; raise ``ConfigError`` if it has none with a known name."""
    found = [name for name in DROPOUTS if hasattr(config, name)]
    if not found:
        raise ConfigError(f"dropout: {path!r} is of the type {config.model_type!r}, whose dropout has no known name")
    for name in found:
        setattr(config, name, dropout)
    for name in _HEAD_DROPOUTS:
        if getattr(config, name, None) is not None:
            setattr(config, name, dropout)


def most_tokens(model: nn.Module) -> int | None:
    """Return a model's maximum sequence length, including special tokens; None if there is none.

    RoBERTa, XLM-R, MPNet and similar models number positions from the padding token's id + 1, so 514 position
    embeddings allow 512 tokens.
    """
    most = getattr(model.config, "max_position_embeddings", None)
    offset = position_padding(model)
    return most if most is None or offset is None else most - offset - 1


def position_padding(model: nn.Module) -> int | None:
    """Return the padding token's id after which a model's positions start; None if they start at 0."""
    base: Any = getattr(model, "base_model", model)
    table = getattr(getattr(base, "embeddings", None), "position_embeddings", None)
    return getattr(table, "padding_idx", None)


def check_tokenizer(model: "PreTrainedModel", size: int, pad: int, path: str) -> None:
    """Raise ``ConfigError`` if a tokenizer with ``size`` tokens and padding token ``pad`` does not fit a model."""
    known = int(model.config.vocab_size)  # pyright: ignore[reportArgumentType]
    if size > known:
        raise ConfigError(f"the tokenizer of {path} has {size} tokens, the model {known}: they do not belong together")
    offset = position_padding(model)
    if offset is not None and offset != pad:
        raise ConfigError(
            f"the tokenizer of {path} pads with token {pad}, the model counts positions from token {offset}: they do "
            "not belong together"
        )
