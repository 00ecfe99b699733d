"""A small transformer with random weights."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.backbones import mlm
from limbeck.backbones.adapters import read_lora
from limbeck.backbones.backbone import Task, prepared
from limbeck.backbones.sources import load_tokenizer
from limbeck.registry import register
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST_VOCABULARY = 2**20
"""Maximum ``vocab_size``: the tokenizer's trainer allocates memory for all entries at once, or aborts the process."""


@register("backbone", "tiny")
class Tiny:
    """A small BERT with random weights, and a WordPiece tokenizer trained on the collection.

    Parameters
    ----------
    vocab_size
        Maximum size of the trained vocabulary, which always includes all characters of the texts; at most 2^20.
    width
        Dimension of the hidden states; the feed-forward layers have four times the width.
    layers
        Number of layers.
    heads
        Number of attention heads.
    max_length
        Maximum sequence length in tokens.
    dropout
        Dropout of hidden states and attention, in [0, 1).
    lora, gradient_checkpointing
        As for a pretrained backbone; with random weights, useful only in tests.
    untrained
        Allow search, scoring and teaching with random weights, to try out a command.

    Raises
    ------
    ValueError
        The width is not a multiple of the number of heads, or a value is out of range.
    """

    learning_rate = 1e-3

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
        untrained: bool = False,
    ) -> None:
        self.path = None
        self.anew: list[str] = []
        self.labels: list[str] = []
        self.untrained = untrained
        sizes = {"vocab_size": vocab_size, "width": width, "layers": layers, "heads": heads, "max_length": max_length}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if vocab_size > LARGEST_VOCABULARY:
            raise ValueError(f"vocab_size must be <= {LARGEST_VOCABULARY}, got {vocab_size}")
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
        """Train the tokenizer on the texts, or load it from the cache."""
        path = folder(
            "tokenizer",
            {"kind": "wordpiece", "vocab_size": self.vocab_size},
            lambda target: train_wordpiece(texts(), self.vocab_size, target),
        )
        return load_tokenizer(str(path))

    def model(self, tokenizer: TextTokenizer, task: Task, *, trains: bool = True) -> "PreTrainedModel":
        """Return a BERT with random weights."""
        del trains  # encoders have no default adapters
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
            model = BertForMaskedLM(config)
            mlm.start_near_identity(model)
        else:
            model = BertModel(config, False) if task == "encoder" else BertForSequenceClassification(config)
        return prepared(model, self.lora, self.gradient_checkpointing, ())
