"""Backbones: where a student's transformer and tokenizer come from."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limbeck.config import ConfigError
from limbeck.registry import register
from limbeck.students import mlm
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece
from limbeck.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Pooling = Literal["mean", "cls"]
Task = Literal["encoder", "classifier", "mlm"]
"""What a student makes of a backbone: token states, one score a sequence, or logits of the vocabulary a token."""

_AUTO: dict[Task, str] = {
    "encoder": "AutoModel",
    "classifier": "AutoModelForSequenceClassification",
    "mlm": "AutoModelForMaskedLM",
}

Load = Callable[[Task], "PreTrainedModel"]
"""Given to a student: returns its transformer for a task."""

PACKAGE = "package:"
"""Prefix of a model that lies inside an installed Python package: ``package:NAME/FOLDER``."""


class Backbone(Protocol):
    """A source of one transformer encoder and its tokenizer."""

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Return the tokenizer; ``texts`` and ``folder`` serve backbones that train one."""
        ...

    def model(self, tokenizer: TextTokenizer, task: Task) -> "PreTrainedModel":
        """Return the transformer in float32."""
        ...


@register("backbone", "tiny")
class Tiny:
    """A small BERT with random weights, and a WordPiece tokenizer trained on the collection.

    Parameters
    ----------
    vocab_size
        Largest size of the trained vocabulary.
    width, layers, heads
        Shape of the transformer; the feed-forward layer is four times the width.
    max_length
        Longest sequence in tokens.
    dropout
        Of the hidden states and the attention, in [0, 1).
    learning_rate
        Peak learning rate that suits random weights; ``optim.lr`` follows it.

    Raises
    ------
    ValueError
        The width is no multiple of the number of heads, or a value is out of range.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 8000,
        width: int = 128,
        layers: int = 2,
        heads: int = 2,
        max_length: int = 256,
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
    ) -> None:
        del learning_rate  # read by the configuration of the optimiser
        for name, value in (("vocab_size", vocab_size), ("width", width), ("layers", layers), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.vocab_size = vocab_size
        self.width = width
        self.layers = layers
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Train the tokenizer on the texts, or load the one trained before."""
        path = folder(
            "tokenizer",
            {"kind": "wordpiece", "vocab_size": self.vocab_size},
            lambda target: train_wordpiece(texts(), self.vocab_size, target),
        )
        return load_tokenizer(str(path))

    def model(self, tokenizer: TextTokenizer, task: Task) -> "PreTrainedModel":
        """Return a BERT with random weights."""
        from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

        labels: dict[str, Any] = {"num_labels": 1}
        config = BertConfig(
            vocab_size=len(tokenizer.tokenizer),
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=self.max_length,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            pad_token_id=tokenizer.pad_id,
            **labels,
        )
        if task == "mlm":
            return BertForMaskedLM(config)
        return BertForSequenceClassification(config) if task == "classifier" else BertModel(config, False)


@register("backbone", "pretrained")
class Pretrained:
    """A pretrained Hugging Face encoder, by hub name or folder.

    Parameters
    ----------
    model
        Hub name, folder, or ``package:NAME/FOLDER`` inside an installed package.
    revision
        Commit or tag on the hub; pin it for results to be published.
    layers
        Keep only the first n layers; null keeps all.
    dropout
        Override the checkpoint's dropout; null keeps it.
    learning_rate
        Peak learning rate that suits pretrained weights; ``optim.lr`` follows it.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        learning_rate: float = 2e-5,
    ) -> None:
        del learning_rate  # read by the configuration of the optimiser
        if layers is not None and layers < 1:
            raise ValueError(f"layers must be >= 1 or null, got {layers}")
        if dropout is not None and not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) or null, got {dropout}")
        self.path = _locate(model)
        self.revision = revision
        self.layers = layers
        self.dropout = dropout

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Load the checkpoint's tokenizer."""
        del texts, folder  # nothing is trained
        return load_tokenizer(self.path, self.revision)

    def model(self, tokenizer: TextTokenizer, task: Task) -> "PreTrainedModel":
        """Load the checkpoint."""
        import transformers
        from transformers import AutoConfig

        with _quiet(), _clear_errors(self.path):
            config = AutoConfig.from_pretrained(self.path, revision=self.revision)
            if self.layers is not None:
                if self.layers > config.num_hidden_layers:
                    raise ConfigError(
                        f"layers must be <= {config.num_hidden_layers}, the depth of {self.path}, got {self.layers}"
                    )
                config.num_hidden_layers = self.layers
            if self.dropout is not None:
                config.hidden_dropout_prob = config.attention_probs_dropout_prob = self.dropout
            if task == "classifier":
                config.num_labels = 1
            model, info = getattr(transformers, _AUTO[task]).from_pretrained(
                self.path, revision=self.revision, config=config, dtype=torch.float32, output_loading_info=True
            )
        if task == "mlm":
            mlm.check(model)
            fresh = [name for name in mlm.head_names(model) if name in info["missing_keys"]]
            if fresh:
                near = mlm.start_near_identity(model)
                log.info(
                    "%s has no head for masked words: %s start %s",
                    self.path,
                    ", ".join(fresh),
                    "near the identity" if near else "at random",
                )
        if task == "encoder" and getattr(model, "pooler", None) is not None:
            model.pooler = None  # not used by any encoder student; its parameters would never get a gradient
        if len(tokenizer.tokenizer) > model.config.vocab_size:
            raise ConfigError(
                f"the tokenizer of {self.path} has {len(tokenizer.tokenizer)} tokens, the model "
                f"{model.config.vocab_size}: they do not belong together"
            )
        return model


def load_tokenizer(path: str, revision: str | None = None) -> TextTokenizer:
    """Load a fast tokenizer from a hub name or folder."""
    from transformers import AutoTokenizer

    with _quiet(), _clear_errors(path):
        return TextTokenizer(AutoTokenizer.from_pretrained(path, revision=revision, use_fast=True))


HEAD = "head.safetensors"
"""File beside a saved backbone with the parameters that a student has on top of it."""


def save(student: torch.nn.Module, tokenizer: TextTokenizer, folder: Path) -> None:
    """Save a student as a Hugging Face folder, and what it has on top of the backbone beside it."""
    backbone: Any = student.backbone
    backbone.save_pretrained(folder)
    tokenizer.tokenizer.save_pretrained(folder)
    top = {name: value for name, value in student.state_dict().items() if not name.startswith("backbone.")}
    if top:
        save_file(top, folder / HEAD)


def load_top(student: torch.nn.Module, source: Backbone) -> None:
    """Load what :func:`save` wrote on top of the backbone, if the backbone comes from such a folder."""
    path = Path(getattr(source, "path", "")) / HEAD
    if not path.is_file():
        return
    top, own = load_file(path), student.state_dict()
    wrong = sorted(name for name, value in top.items() if name not in own or own[name].shape != value.shape)
    if wrong:
        raise ConfigError(
            f"model: {path} holds {', '.join(wrong)}, which this student has not; choose the kind it is of"
        )
    student.load_state_dict(top, strict=False)


def pool(states: Tensor, tokens: Tokens, pooling: Pooling) -> Tensor:
    """Reduce token states (N, T, D) to (N, D): the mean over real tokens, or the first token."""
    if pooling == "cls":
        return states[:, 0]
    mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)


def inputs(model: torch.nn.Module, tokens: Tokens) -> dict[str, Tensor]:
    """Return the arguments of a Hugging Face model; segment numbers only where it has embeddings for them."""
    result = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
    if tokens.token_type_ids is not None and getattr(model.config, "type_vocab_size", 0) > 1:
        result["token_type_ids"] = tokens.token_type_ids
    return result


def _locate(model: str) -> str:
    if not model.startswith(PACKAGE):
        return model
    name, _, folder = model.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        extra = "; install it with: pip install 'limbeck[minilm]'" if "minilm" in name else ""
        raise ValueError(f"model {model!r} needs the Python package {name}, which is not installed{extra}")
    return str(Path(spec.submodule_search_locations[0]) / folder)


class _clear_errors:  # noqa: N801 - reads as a statement
    """Turn what transformers raises for a missing or foreign checkpoint into one line that says what to do."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError | KeyError) and not isinstance(error, ConfigError):
            where = "folder" if os.path.isdir(self.path) else "hub model"
            first = str(error).strip().split("\n")[0]
            raise ConfigError(
                f"model: the {where} {self.path!r} could not be loaded ({first}). Give a folder that holds "
                "config.json, model.safetensors and tokenizer.json, or a hub name this machine can reach"
            ) from error


class _quiet:  # noqa: N801 - reads as a statement
    """Silence transformers' bars and its notes about layers that were left out on purpose."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)
