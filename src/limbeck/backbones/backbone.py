"""Backbones: what a student's transformer and tokenizer come from, and how students are saved and pooled."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from limbeck.backbones import packing
from limbeck.backbones.adapters import Lora, adapt, checkpoint_gradients, merged_weights
from limbeck.backbones.decoders import is_causal
from limbeck.text.tokenizer import TextTokenizer
from limbeck.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["mean", "cls", "last"]
Task = Literal["encoder", "classifier", "difference", "mlm"]
"""What a student makes of a backbone: token states, one score a sequence, the difference of two, or logits of the
vocabulary a token."""

Load = Callable[[Task], "PreTrainedModel"]
"""Given to a student: returns its transformer for a task."""


class Backbone(Protocol):
    """A source of one transformer and its tokenizer."""

    @property
    def learning_rate(self) -> float:
        """Peak learning rate that suits the weights that train, where ``optim.lr`` is null."""
        ...

    @property
    def path(self) -> str | None:
        """Where the weights come from; None where all of them start at random."""
        ...

    @property
    def untrained(self) -> bool:
        """Whether random weights may search, score or teach although nothing trains them."""
        ...

    @property
    def anew(self) -> Sequence[str]:
        """Parameters of the model built last that the checkpoint does not give."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Labels of the checkpoint's classifier, where the model built last has another number of them."""
        ...

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Return the tokenizer; ``texts`` and ``folder`` serve backbones that train one."""
        ...

    def model(self, tokenizer: TextTokenizer, task: Task, *, trains: bool = True) -> "PreTrainedModel":
        """Return the transformer in float32; one that nothing trains gets no adapters that were not asked for."""
        ...


def prepared(
    model: "PreTrainedModel", lora: Lora | None, checkpointing: bool, anew: Iterable[str]
) -> "PreTrainedModel":
    """Return a new transformer as the options of a backbone want it: with adapters, saving memory, without padding.

    ``anew`` names the parameters that no checkpoint gives: they train beside adapters.
    """
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


def check_pooling(model: "PreTrainedModel", pooling: str) -> None:
    """Raise a ValueError where the first token of a text is read that has seen no other."""
    if pooling == "cls" and is_causal(model.config):
        raise ValueError(
            "pooling=cls reads the first token, which sees nothing of the text in a decoder; take last or mean, or "
            "backbone.bidirectional=true"
        )


def pool(states: Tensor, tokens: Tokens, pooling: Pooling) -> Tensor:
    """Reduce token states (N, T, D) to (N, D): the mean over real tokens, the first token, or the last real one."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        numbers = torch.arange(1, states.shape[1] + 1, device=states.device)
        return states[torch.arange(len(states), device=states.device), (tokens.attention_mask * numbers).argmax(1)]
    mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)
