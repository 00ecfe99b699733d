"""Decoders as backbones: which models they are, and what their tokens see of a text."""

from typing import TYPE_CHECKING, Any

import torch

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def is_decoder(config: "PreTrainedConfig") -> bool:
    """Return whether a configuration is of a decoder alone: transformers has a causal language model for it, no other.

    Bidirectional attention does not make an encoder of it: its head still predicts the next word.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    known = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return known and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.is_encoder_decoder


def is_causal(config: "PreTrainedConfig") -> bool:
    """Return whether a token sees nothing of what follows it."""
    both = getattr(config, "use_bidirectional_attention", None)  # of Gemma 3
    return is_decoder(config) and getattr(config, "is_causal", True) and not both


def set_up(config: "PreTrainedConfig", pad: int, *, bidirectional: bool) -> None:
    """Set a decoder's configuration to reading texts: the padding token, no cache, and attention to all of a text.

    ``is_causal`` is transformers' own switch, so a saved model keeps it.
    """
    settings: Any = config
    settings.pad_token_id = pad  # a classifier reads the last token that is not this one
    settings.use_cache = False
    if bidirectional:
        settings.is_causal = False


def check(config: "PreTrainedConfig", task: str, path: str) -> None:
    """Raise a ConfigError where a decoder cannot serve a task, or is one of images or sound, too."""
    if config.get_text_config() is not config:
        raise ConfigError(
            f"model: {path!r} is of the type {config.model_type!r}, which reads more than text; take a checkpoint of "
            "the text model alone"
        )
    if task == "mlm":
        raise ConfigError(
            f"model: {path!r} is a decoder ({config.model_type}): its head predicts the next word, and a sparse "
            "student needs one of masked words, which weighs the words of the text; take an encoder, or another student"
        )


@torch.no_grad()
def check_both_ways(model: "PreTrainedModel", path: str) -> None:
    """Raise a ConfigError unless a token sees what follows it: tried with two texts that differ in their last token."""
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
