"""The protocol of backbones (sources of a transformer and a tokenizer), saving of students, and pooling."""

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
"""Output that a student needs of a transformer: token states (``encoder``), one logit per sequence (``classifier``),
the difference of two logits (``difference``), or vocabulary logits per token (``mlm``)."""

Load = Callable[[Task], "PreTrainedModel"]
"""Function that a student calls to get its transformer for a task."""


class Backbone(Protocol):
    """A source of one transformer and its tokenizer."""

    @property
    def learning_rate(self) -> float:
        """Default peak learning rate, used if ``optim.lr`` is null."""
        ...

    @property
    def path(self) -> str | None:
        """Hub name or folder of the weights; None if all weights are initialised at random."""
        ...

    @property
    def untrained(self) -> bool:
        """Whether random weights may be used for search, scoring or teaching without training."""
        ...

    @property
    def anew(self) -> Sequence[str]:
        """Parameters of the last built model that the checkpoint lacks."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Labels of the checkpoint's classifier, if their number differs from that of the last built model."""
        ...

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Return the tokenizer.

        Parameters
        ----------
        texts
            Returns the collection's texts, for backbones that train a tokenizer.
        folder
            Returns the folder of a cached artefact, for backbones that train a tokenizer.
        """
        ...

    def model(self, tokenizer: TextTokenizer, task: Task, *, trains: bool = True) -> "PreTrainedModel":
        """Return the transformer in float32; with ``trains=False``, without default adapters."""
        ...


def prepared(
    model: "PreTrainedModel", lora: Lora | None, checkpointing: bool, anew: Iterable[str]
) -> "PreTrainedModel":
    """Set up a new transformer in place: adapters, gradient checkpointing, and packing if it supports it.

    ``anew`` names the parameters that are not from a checkpoint; they stay trainable beside adapters.
    """
    if lora is not None:
        adapt(model, lora, anew)
    if checkpointing:
        checkpoint_gradients(model)
    packing.enable(model)
    return model


HEAD = "head.safetensors"
"""File next to a saved backbone with the student's other parameters."""


def save(student: torch.nn.Module, tokenizer: TextTokenizer, folder: Path) -> None:
    """Save a student's backbone as a Hugging Face folder, with its other parameters in a file next to it.

    Adapters are merged, so the folder is a plain checkpoint.
    """
    backbone: Any = student.backbone
    backbone.save_pretrained(folder, state_dict=merged_weights(backbone))
    tokenizer.save(folder)
    # Write tied weights (a second transformer's decoder and embeddings) once, as safetensors requires.
    once: dict[int, tuple[str, Tensor]] = {}
    for name, value in merged_weights(student).items():
        if not name.startswith("backbone."):
            once.setdefault(value.data_ptr(), (name, value.contiguous()))
    if once:
        save_file(dict(once.values()), folder / HEAD)


def check_pooling(model: "PreTrainedModel", pooling: str) -> None:
    """Raise ``ValueError`` for ``cls`` pooling over causal attention, where the first token sees no other."""
    if pooling == "cls" and is_causal(model.config):
        raise ValueError(
            "pooling=cls reads the first token, which in a decoder attends to no other; choose last or mean, or "
            "backbone.bidirectional=true"
        )


def pool(states: Tensor, tokens: Tokens, pooling: Pooling) -> Tensor:
    """Pool token states (N, T, D) → (N, D): the mean over tokens, the first, or the last token, without padding."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        numbers = torch.arange(1, states.shape[1] + 1, device=states.device)
        return states[torch.arange(len(states), device=states.device), (tokens.attention_mask * numbers).argmax(1)]
    mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)
