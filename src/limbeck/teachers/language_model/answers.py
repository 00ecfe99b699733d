"""The answer tokens, and output heads reduced to them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Read = Literal["difference", "positive", "negative", "head"]
"""How the answers' logits become a score."""


def answer(tokenizer: "PreTrainedTokenizerFast", text: str, key: str) -> int:
    """Return the token id of an answer.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    text
        A token of the vocabulary (``▁true``, ``Ġyes``), or a text that the tokenizer encodes as one token.
    key
        Configuration key of the answer, for messages.

    Raises
    ------
    ConfigError
        The text is several tokens, or the unknown token; the message lists other spellings that are one token.
    """
    number = _single(tokenizer, text)
    if number is not None:
        return number
    pieces = tokenizer.convert_ids_to_tokens(_ids(tokenizer, text))
    close = {found: variant for variant in _variants(text) if (found := _single(tokenizer, variant)) is not None}
    single = ", ".join(f"{each!r} ({tokenizer.convert_ids_to_tokens(number)})" for number, each in close.items())
    raise ConfigError(
        f"{key}: {text!r} is not one token of this tokenizer but {len(pieces)}: {pieces}; "
        + (f"single tokens are {single}" if single else "no other spelling is a single token; choose another word")
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
    """Yield other spellings of an answer: with and without a leading space, in lower, upper and title case."""
    bare = text.strip(" ▁Ġ")
    words = dict.fromkeys((bare, bare.lower(), bare.capitalize(), bare.upper()))
    yield from (f"{before}{word}" for word in words for before in ("▁", "Ġ", " ", "") if word and before + word != text)


class AnswerHead(nn.Module):
    """The rows of a model's output matrix for the answers, computed in float32 for models of any precision.

    The difference of two 16-bit logits has a resolution of 2⁻⁸ of the logits, so that scores would tie.

    Parameters
    ----------
    weight
        (A, H), one row per answer.
    bias
        (A,); None for no bias.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """Return (N, T, A) logits of (N, T, H) states."""
        return F.linear(states.to(self.weight.device, torch.float32), self.weight, self.bias)


def keep_answers(model: "PreTrainedModel", numbers: list[int], path: str) -> None:
    """Make a model compute only the answers' logits; later steps on logits (soft caps, scales) stay.

    Raises
    ------
    ConfigError
        The model has no output matrix with one row per token.
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
        The head does not have exactly one label.
    """
    head: Any = getattr(model, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        got = f"{head.out_features} labels" if isinstance(head, nn.Linear) else "no linear layer `score`"
        raise ConfigError(
            f"teacher.model: {path!r} has {got} as its classification head, not one label; "
            "if it is a language model, set teacher.prompt.score=difference"
        )
    model.score = AnswerHead(head.weight.detach(), None if head.bias is None else head.bias.detach())


def score_of(logits: Tensor, read: Read) -> Tensor:
    """Return (N,) scores from (N, 2) logits of the positive and negative answer, or from (N, 1) logits of a head."""
    if read == "difference":
        return logits[:, 0] - logits[:, 1]
    return logits[:, 1] if read == "negative" else logits[:, 0]
