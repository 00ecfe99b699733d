"""The tokens that answer, and the head of a model cut down to them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Read = Literal["difference", "positive", "negative", "head"]
"""How logits become a score."""


def answer(tokenizer: "PreTrainedTokenizerFast", text: str, key: str) -> int:
    """Return the id of the token that is an answer.

    Parameters
    ----------
    tokenizer
        The model's.
    text
        Name of a piece of the vocabulary (``▁true``, ``Ġyes``), or a text that is tokenised as one token.
    key
        Option that gives it, for messages.

    Raises
    ------
    ConfigError
        It is several tokens, or one that stands for everything unknown; the message has what other spellings are one.
    """
    number = _single(tokenizer, text)
    if number is not None:
        return number
    pieces = tokenizer.convert_ids_to_tokens(_ids(tokenizer, text))
    close = {found: variant for variant in _variants(text) if (found := _single(tokenizer, variant)) is not None}
    single = ", ".join(f"{each!r} ({tokenizer.convert_ids_to_tokens(number)})" for number, each in close.items())
    raise ConfigError(
        f"{key}: {text!r} is not one token of this tokenizer but {len(pieces)}: {pieces}; "
        + (f"one token each are {single}" if single else "none of its spellings is one; take a word that is")
    )


def _single(tokenizer: "PreTrainedTokenizerFast", text: str) -> int | None:
    number = tokenizer.backend_tokenizer.token_to_id(text) if text else None
    if number is not None and number != tokenizer.unk_token_id:
        return int(number)
    ids = _ids(tokenizer, text)
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def _ids(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]


def _variants(text: str) -> Iterator[str]:
    """Yield other spellings of an answer."""
    bare = text.strip(" ▁Ġ")
    words = dict.fromkeys((bare, bare.lower(), bare.capitalize(), bare.upper()))
    yield from (f"{before}{word}" for word in words for before in ("▁", "Ġ", " ", "") if word and before + word != text)


class AnswerHead(nn.Module):
    """The rows of a model's output matrix that belong to the answers; computes in float32 whatever the model does.

    A difference of two logits of 16 bits has a step of 2⁻⁸ of the logits, not of the difference: scores would tie.

    Parameters
    ----------
    weight
        (A, H), a row an answer.
    bias
        (A,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """Return (N, T, A) logits of (N, T, H) states."""
        return F.linear(states.to(self.weight.device, torch.float32), self.weight, self.bias)


def keep_answers(model: "PreTrainedModel", numbers: list[int], path: str) -> None:
    """Make a model compute the logits of the answers alone; what it does to logits (soft caps, scales) stays.

    Raises
    ------
    ConfigError
        The model has no output matrix with a row a token.
    """
    head: Any = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.shape[0] <= max(numbers):
        raise ConfigError(f"teacher.model: {path!r} has no output matrix with a row for each token of its tokenizer")
    bias = getattr(head, "bias", None)
    model.set_output_embeddings(AnswerHead(weight.detach()[numbers], None if bias is None else bias.detach()[numbers]))
    assert isinstance(model.get_output_embeddings(), AnswerHead), "transformers' models take another output matrix"


def keep_label(model: "PreTrainedModel", path: str) -> None:
    """Make the classification head of a model compute in float32.

    Raises
    ------
    ConfigError
        It has another number of labels than one.
    """
    head: Any = getattr(model, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        got = f"{head.out_features} labels" if isinstance(head, nn.Linear) else "no linear layer `score`"
        raise ConfigError(
            f"teacher.model: {path!r} has {got} as its classification head, not one label; "
            "give the answers, teacher.prompt.score=difference, if it is a language model"
        )
    model.score = AnswerHead(head.weight.detach(), None if head.bias is None else head.bias.detach())


def score_of(logits: Tensor, read: Read) -> Tensor:
    """Return (N,) scores of (N, 2) logits of the positive and the negative answer, or of (N, 1) of a head."""
    if read == "difference":
        return logits[:, 0] - logits[:, 1]
    return logits[:, 1] if read == "negative" else logits[:, 0]
