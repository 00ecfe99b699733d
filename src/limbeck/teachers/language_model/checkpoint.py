"""Language models from a folder or the hub, each as the kind that a teacher asks for."""

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
    """A language model that lies in a folder or on the hub.

    Parameters
    ----------
    model
        Hub name or folder, as ``limbeck.backbones.sources.locate`` takes it.
    revision
        Commit or tag on the hub.
    kind
        What it must be.

    Raises
    ------
    ConfigError
        It cannot be reached, or is of another kind; the message says which teacher takes it.
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
        """Load the tokenizer; it needs no padding token, since rows are padded with any and masked."""
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
        """Return how many tokens the model reads at most; None where nothing bounds it (T5's relative positions)."""
        found = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return None if found is None else int(found)

    def model(self, *, head: bool, bf16: bool, device: torch.device, device_map: Any) -> "PreTrainedModel":
        """Load the model, not for training.

        Parameters
        ----------
        head
            With its sequence-classification head in place of that of a language model.
        bf16
            Hold the weights in bfloat16, not float32.
        device
            Where it computes.
        device_map
            As transformers takes it (``auto``, ``{"": 0}``): one model on several devices. None takes ``device``.

        Raises
        ------
        ConfigError
            Weights are missing, or accelerate is, which spreads a model over devices.
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
                f"teacher.model: {self.path!r} does not hold {some(missing)} of {type(model).__name__}: they would be "
                "random. Take a checkpoint that was trained to judge pairs by "
                + ("a classification head" if head else "words; prompt.score=head reads a classification head")
            )
        if any(value.is_meta for value in model.parameters()):
            raise ConfigError("teacher.device_map: the devices have no room for all weights, some would lie on disk")
        model.eval().requires_grad_(False)
        return model if device_map is not None else model.to(device)


def checksum(model: torch.nn.Module) -> str:
    """Return 16 hex digits of the sha256 of all parameters and buffers, by name."""
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
        found, other = "no language model that transformers knows", "another model"
    if other != f"teacher={kind}":
        raise ConfigError(f"teacher.model: {path!r} is of the type {name!r}, {found}; take {other} for it")


class _clear(clear_errors):  # noqa: N801 - reads as a statement
    """The same errors, by the teacher's key."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        except ConfigError as clear:
            raise ConfigError(f"teacher.{clear}") from clear.__cause__
