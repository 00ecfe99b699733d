"""Decoders as backbones: recognition, configuration and checks, including bidirectional attention."""

from typing import TYPE_CHECKING, Any

import torch

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def is_decoder(config: "PreTrainedConfig") -> bool:
    """Return whether a model is a decoder: transformers has a causal, but no masked, language model for its type.

    It remains a decoder with bidirectional attention, since its head predicts the next token.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    known = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return known and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.is_encoder_decoder


def is_causal(config: "PreTrainedConfig") -> bool:
    """Return whether attention is causal, so that tokens do not attend to later ones."""
    both = getattr(config, "use_bidirectional_attention", None)  # Gemma 3
    return is_decoder(config) and getattr(config, "is_causal", True) and not both


def set_up(config: "PreTrainedConfig", pad: int, *, bidirectional: bool) -> None:
    """Configure a decoder for encoding texts: padding token, no cache and, if ``bidirectional``, no causal mask.

    ``is_causal`` is a key of transformers' configuration, so saved models keep it.
    """
    settings: Any = config
    settings.pad_token_id = pad  # a classifier reads the last token that is not this one
    settings.use_cache = False
    if bidirectional:
        settings.is_causal = False


def check(config: "PreTrainedConfig", task: str, path: str) -> None:
    """Raise ``ConfigError`` if a decoder does not support a task, or is multimodal."""
    if config.get_text_config() is not config:
        raise ConfigError(
            f"model: {path!r} is of the type {config.model_type!r}, which reads more than text; choose a checkpoint of "
            "its text model"
        )
    if task == "mlm":
        raise ConfigError(
            f"model: {path!r} is a decoder ({config.model_type}), but a sparse student needs a masked language model; "
            "choose an encoder, or another student"
        )


@torch.no_grad()
def check_both_ways(model: "PreTrainedModel", path: str) -> None:
    """Raise ``ConfigError`` if attention is causal, tested with two texts that differ only in their last token."""
    base: Any = model.base_model
    size = min(int(base.config.vocab_size), 7)
    texts = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]]) % size
    training = base.training
    base.eval()
    first, second = base(input_ids=texts, attention_mask=torch.ones_like(texts)).last_hidden_state[:, 0]
    base.train(training)
    if torch.equal(first, second):
        raise ConfigError(
            f"bidirectional: {path!r} is of the type {base.config.model_type!r}, whose attention stays causal in this "
            "version of transformers; set it to false"
        )
