"""Loads language models from a folder or the hub, for the kind of teacher that needs them."""

import hashlib
import importlib.util
from typing import TYPE_CHECKING, Any, Literal

import torch

from limbeck.backbones.sources import clear_errors, locate, quiet, some, tokenizer_folder
from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Kind = Literal["causal_lm", "seq2seq"]

_AUTO = {
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "head": "AutoModelForSequenceClassification",
}


class Checkpoint:
    """A language model in a folder or on the hub.

    Parameters
    ----------
    model
        Hub name or folder, as in ``limbeck.backbones.sources.locate``.
    revision
        Commit or tag on the hub.
    kind
        Required kind of model.

    Raises
    ------
    ConfigError
        The model cannot be loaded, or is of another kind; the message names the teacher to use.
    """

    def __init__(self, model: str, revision: str | None, kind: Kind) -> None:
        from transformers import AutoConfig

        try:
            self.path = locate(model)
        except ValueError as error:
            raise ConfigError(f"teacher.{error}") from None
        self.name = model
        self.revision = revision
        self.kind: Kind = kind
        with quiet(), _clear(self.path):
            self.config = AutoConfig.from_pretrained(self.path, revision=revision, trust_remote_code=False)
        _check_kind(self.config, self.path, kind)

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """Load the tokenizer; it needs no padding token, as padding is masked."""
        from transformers import AutoTokenizer

        folder = tokenizer_folder(self.path)
        with quiet(), _clear(self.path):
            found = AutoTokenizer.from_pretrained(folder, revision=self.revision, trust_remote_code=False)
            if not found.is_fast:
                raise ValueError("its tokenizer has no fast version, tokenizer.json")
            if len(found) > int(self.config.get_text_config().vocab_size):  # pyright: ignore[reportArgumentType]
                raise ValueError(f"its tokenizer has {len(found)} tokens, more than the model")
            return found

    def most_tokens(self) -> int | None:
        """Return the model's maximum length in tokens; None if it has none (T5's relative positions)."""
        found = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return None if found is None else int(found)

    def model(self, *, head: bool, bf16: bool, device: torch.device, device_map: Any) -> "PreTrainedModel":
        """Load the model for inference.

        Parameters
        ----------
        head
            Load its sequence-classification head instead of the language-model head.
        bf16
            Load the weights in bfloat16 instead of float32.
        device
            Device of the model.
        device_map
            transformers' ``device_map`` (``auto``, ``{"": 0}``), to spread one model over several devices; None uses
            ``device``.

        Raises
        ------
        ConfigError
            Weights are missing, or accelerate is not installed, which ``device_map`` needs.
        """
        import transformers

        if device_map is not None and importlib.util.find_spec("accelerate") is None:
            raise ConfigError(
                "teacher.device_map needs the Python package accelerate, which is not installed; pip install "
                "accelerate, or set it to null"
            )
        auto = _AUTO["head" if head else self.kind]
        if head and type(self.config) not in transformers.AutoModelForSequenceClassification._model_mapping:
            raise ConfigError(f"teacher.model: transformers has no classification head for {self.config.model_type!r}")
        with quiet(), _clear(self.path):
            model, info = getattr(transformers, auto).from_pretrained(
                self.path,
                revision=self.revision,
                dtype=torch.bfloat16 if bf16 else torch.float32,
                trust_remote_code=False,
                device_map=device_map,
                output_loading_info=True,
            )
        missing = sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])})
        if missing:
            raise ConfigError(
                f"teacher.model: {self.path!r} lacks {some(missing)} of {type(model).__name__}, which would be "
                "random. Choose a checkpoint that was trained to judge pairs by "
                + ("a classification head" if head else "words; prompt.score=head reads a classification head")
            )
        if any(value.is_meta for value in model.parameters()):
            raise ConfigError("teacher.device_map: the devices' memory is too small, some weights would be on disk")
        model.eval().requires_grad_(False)
        return model if device_map is not None else model.to(device)


def checksum(model: torch.nn.Module) -> str:
    """Return 16 hex digits of the SHA-256 of all parameters and buffers with their names."""
    weights = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return weights.hexdigest()[:16]


def _check_kind(config: "PreTrainedConfig", path: str, kind: Kind) -> None:
    from transformers.models.auto import modeling_auto as auto

    name = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        found, other = "an encoder with a decoder", "teacher=seq2seq"
    elif name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        found, other = "an encoder, which writes no answers", "teacher=cross_encoder or teacher=dense"
    elif name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found, other = "a decoder alone", "teacher=causal_lm"
    else:
        found, other = "not a language model that transformers knows", "another model"
    if other != f"teacher={kind}":
        raise ConfigError(f"teacher.model: {path!r} is of the type {name!r}, {found}; use {other} for it")


class _clear(clear_errors):  # noqa: N801 - reads as a statement
    """``clear_errors`` with the teacher's key in the message."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        except ConfigError as clear:
            raise ConfigError(f"teacher.{clear}") from clear.__cause__
