"""Backbones: where a student's transformer and tokenizer come from."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from limbeck.backbones import families, hub, labels, mlm, packing
from limbeck.backbones.adapters import Lora, adapt, checkpoint_gradients, merged_weights, read_lora
from limbeck.backbones.layout import lower_cases
from limbeck.backbones.sources import clear_errors, load_tokenizer, locate, quiet, report, tokenizer_folder
from limbeck.registry import register
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece
from limbeck.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Pooling = Literal["mean", "cls"]
Task = Literal["encoder", "classifier", "difference", "mlm"]
"""What a student makes of a backbone: token states, one score a sequence, the difference of two, or logits of the
vocabulary a token."""

_AUTO: dict[Task, str] = {
    "encoder": "AutoModel",
    "classifier": "AutoModelForSequenceClassification",
    "difference": "AutoModelForSequenceClassification",
    "mlm": "AutoModelForMaskedLM",
}

_LARGEST_VOCABULARY = 2**20
"""Of a trained tokenizer: its trainer asks for the memory of all of them at once, and aborts the process without it."""

Load = Callable[[Task], "PreTrainedModel"]
"""Given to a student: returns its transformer for a task."""


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
        Largest size of the trained vocabulary, to which all characters of the texts belong in any case; at most 2^20.
    width, layers, heads
        Shape of the transformer; the feed-forward layer is four times the width.
    max_length
        Longest sequence in tokens.
    dropout
        Of the hidden states and the attention, in [0, 1).
    lora, gradient_checkpointing
        As for a pretrained backbone; with random weights they are of use in tests only.
    learning_rate
        Peak learning rate that suits random weights; ``optim.lr`` follows it.
    untrained
        Let it search, score or teach although nothing trains it: to try a command out.

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
        lora: Any = None,
        gradient_checkpointing: bool = False,
        learning_rate: float = 1e-3,
        untrained: bool = False,
    ) -> None:
        del learning_rate  # read by the configuration of the optimiser
        self.untrained = untrained
        sizes = {"vocab_size": vocab_size, "width": width, "layers": layers, "heads": heads, "max_length": max_length}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if vocab_size > _LARGEST_VOCABULARY:
            raise ValueError(f"vocab_size must be <= {_LARGEST_VOCABULARY}, got {vocab_size}")
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
        self.lora = read_lora(lora)
        self.gradient_checkpointing = gradient_checkpointing

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
            made = BertForMaskedLM(config)
            mlm.start_near_identity(made)
        else:
            made = BertModel(config, False) if task == "encoder" else BertForSequenceClassification(config)
        return _prepared(made, self.lora, self.gradient_checkpointing, ())


@register("backbone", "pretrained")
class Pretrained:
    """A pretrained Hugging Face encoder, by hub name or folder.

    All families that transformers has a masked language model for: BERT (MiniLM), DistilBERT, ELECTRA, ModernBERT,
    RoBERTa, XLM-R, MPNet, DeBERTa and so on. What the checkpoint and the student's transformer do not share is logged.

    Parameters
    ----------
    model
        Hub name, ``package:NAME/FOLDER`` inside an installed package, or a folder: of a checkpoint, of a run, or of
        sentence-transformers.
    revision
        Commit or tag on the hub; pin it for results to be published.
    layers
        Keep only the first n layers; null keeps all.
    dropout
        Override the checkpoint's dropout of states and attention, in [0, 1); null keeps it.
    lora
        Train low-rank adapters instead of the transformer: ``{rank: 8, alpha: 16, dropout: 0, targets: null}``, see
        :class:`~limbeck.backbones.adapters.Lora`; ``{}`` takes these defaults, null trains all weights. A saved
        student has them merged. They want a higher ``optim.lr``, about 1e-4 to 1e-3.
    gradient_checkpointing
        Compute the states inside each layer again in the backward pass: the same numbers, less memory, about a third
        more time.
    learning_rate
        Peak learning rate that suits pretrained weights; ``optim.lr`` follows it.

    Raises
    ------
    ValueError
        A value is out of range, peft or a model's package is not installed, or the folder holds no single transformer.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        lora: Any = None,
        gradient_checkpointing: bool = False,
        learning_rate: float = 2e-5,
    ) -> None:
        del learning_rate  # read by the configuration of the optimiser
        if layers is not None and layers < 1:
            raise ValueError(f"layers must be >= 1 or null, got {layers}")
        if dropout is not None and not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) or null, got {dropout}")
        self.path = locate(model)
        self.revision = revision
        self.layers = layers
        self.dropout = dropout
        self.lora = read_lora(lora)
        self.gradient_checkpointing = gradient_checkpointing
        self.anew: list[str] = []
        """Parameters of the model built last that the checkpoint does not give."""
        self.labels: list[str] = []
        """Of the checkpoint's classifier, where the model built last has another number of them."""

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Load the checkpoint's tokenizer."""
        del texts, folder  # nothing is trained
        place = hub.described(self.path, self.revision) if hub.is_name(self.path) else None
        lower_case = lower_cases(place or Path(self.path))
        return load_tokenizer(tokenizer_folder(self.path), self.revision, lower_case=lower_case)

    def model(self, tokenizer: TextTokenizer, task: Task) -> "PreTrainedModel":
        """Load the checkpoint."""
        import transformers

        with quiet(), clear_errors(self.path):
            config = transformers.AutoConfig.from_pretrained(self.path, revision=self.revision, trust_remote_code=False)
            families.check_encoder(config, self.path)
            if self.layers is not None:
                families.cut_layers(config, self.layers, self.path)
            if self.dropout is not None:
                families.set_dropout(config, self.dropout, self.path)
            names = list((config.id2label or {}).values())
            made, info = self._loaded(task, config)
            self.labels = labels.of_checkpoint(made, info, names)
            if task == "difference" and len(self.labels) == 1:  # reduced to one label before it was saved
                task = "classifier"
                made, info = self._loaded(task, config)
                self.labels = labels.of_checkpoint(made, info, names)
            if task == "difference":
                labels.check_two(info, self.labels)
        self.anew = report(made, info, self.path, self.layers)
        if task == "difference":
            labels.subtract(made)
        if task == "encoder" and getattr(made, "pooler", None) is not None:
            made.pooler = None  # not used by any encoder student; its parameters would never get a gradient
        if task == "mlm" and set(mlm.head_names(made)) <= set(self.anew) and mlm.start_near_identity(made):
            log.info("%s: the new head of masked words starts near the identity", self.path)
        families.check_tokenizer(made, len(tokenizer.tokenizer), tokenizer.pad_id, self.path)
        return _prepared(made, self.lora, self.gradient_checkpointing, self.anew)

    def _loaded(self, task: Task, config: Any) -> tuple[Any, dict[str, Any]]:
        """Return the checkpoint as a model for a task, and transformers' account of what they do not share."""
        import transformers

        if task in ("classifier", "difference"):
            config.num_labels = 1 if task == "classifier" else 2
        return getattr(transformers, _AUTO[task]).from_pretrained(
            self.path,
            revision=self.revision,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # `report` names them
            output_loading_info=True,
        )


def _prepared(
    model: "PreTrainedModel", lora: Lora | None, checkpointing: bool, anew: Iterable[str]
) -> "PreTrainedModel":
    if lora is not None:
        adapt(model, lora, anew)
    if checkpointing:
        checkpoint_gradients(model)
    packing.enable(model)
    return model


HEAD = "head.safetensors"
"""File beside a saved backbone with the parameters that a student has on top of it."""


def save(student: torch.nn.Module, tokenizer: TextTokenizer, folder: Path) -> None:
    """Save a student as a Hugging Face folder, and what it has on top of the backbone beside it.

    Adapters are merged, so the folder is that of a plain checkpoint.
    """
    backbone: Any = student.backbone
    backbone.save_pretrained(folder, state_dict=merged_weights(backbone))
    tokenizer.save(folder)
    # A weight with two names (a second transformer's decoder and embeddings) is written once, as safetensors wants it.
    once: dict[int, tuple[str, Tensor]] = {}
    for name, value in merged_weights(student).items():
        if not name.startswith("backbone."):
            once.setdefault(value.data_ptr(), (name, value.contiguous()))
    if once:
        save_file(dict(once.values()), folder / HEAD)


def pool(states: Tensor, tokens: Tokens, pooling: Pooling) -> Tensor:
    """Reduce token states (N, T, D) to (N, D): the mean over real tokens, or the first token."""
    if pooling == "cls":
        return states[:, 0]
    mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)
