"""Prompts: the template for a query and a document, and the answers whose logits give the score."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from string import Formatter
from typing import Any, get_args

from limbeck.config import ConfigError, fingerprint
from limbeck.teachers.language_model.answers import Read

_PLACES = ("instruction", "query", "document")


@dataclass(frozen=True)
class Prompt:
    r"""A prompt template, and how the model's answer becomes a score.

    Parameters
    ----------
    name
        Name of the prompt, for score stores and messages.
    segments
        Texts with the placeholders ``{query}``, ``{document}`` and ``{instruction}``; write a literal brace twice. Each
        segment is tokenised separately, without the tokenizer's special tokens, and the tokens are joined, so the
        boundaries of segments determine the tokens. Special tokens written as text (``<|im_start|>``) become special
        tokens.
    instruction
        Text for ``{instruction}``.
    positive, negative
        The two answers, one token each: a token of the vocabulary (``▁true``), or a text that is one token.
    score
        ``difference``: positive − negative logit, the log-odds of the two answers. ``positive``, ``negative``: the
        logit of one answer. ``head``: the logit of a sequence-classification head with one label.
    bos
        Whether to start with the tokenizer's BOS token; null does what the tokenizer does for any text.

    Raises
    ------
    ConfigError
        ``{query}`` or ``{document}`` is missing, a placeholder is unknown, or an option has an unknown value.
    """

    name: str
    segments: tuple[str, ...]
    instruction: str = ""
    positive: str = ""
    negative: str = ""
    score: Read = "difference"
    bos: bool | None = None

    def __post_init__(self) -> None:
        if self.score not in get_args(Read):
            raise _error("score", f"must be one of {', '.join(get_args(Read))}, got {self.score!r}")
        found = [place for segment in self.segments for place in _places(segment)]
        unknown = sorted(set(found) - set(_PLACES))
        if unknown:
            known = ", ".join(f"{{{place}}}" for place in _PLACES)
            raise _error(
                "segments", f"has the unknown placeholder {{{unknown[0]}}}; known are {known}; a literal brace is {{{{"
            )
        for place in ("query", "document"):
            if place not in found:
                raise _error("segments", f"lacks {{{place}}}: the model would not see the {place}")
        if found.count("document") > 1:
            raise _error("segments", "has {document} more than once: a long document could not be cut in one place")

    @cached_property
    def label(self) -> str:
        """Name and hash of the whole prompt, for the provenance of scores."""
        return f"{self.name} ({fingerprint(asdict(self))})"

    @cached_property
    def place(self) -> int:
        """Index of the segment with the document."""
        return next(i for i, segment in enumerate(self.segments) if "document" in _places(segment))

    def filled(self, segment: str, query: str, document: str = "") -> tuple[str, tuple[int, int]]:
        """Return a segment's text, and start and end of the document in it (in characters; (0, 0) without it)."""
        values = {"instruction": self.instruction, "query": query, "document": document}
        text, span = "", (0, 0)
        for literal, place, _, _ in Formatter().parse(segment):
            text += literal
            if place == "document":
                span = (len(text), len(text) + len(document))
            text += values[place] if place else ""
        return text, span


def read_prompt(options: Any) -> Prompt:
    """Return the prompt that a configuration describes.

    Raises
    ------
    ConfigError
        It is not a mapping, or an option is unknown, missing or of the wrong type.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"teacher.prompt must be a prompt with its options, got {options!r}; choose one: teacher/prompt=NAME"
        )
    known = [field.name for field in fields(Prompt)]
    for name in options:
        if name not in known:
            raise _error(str(name), f"is no option of a prompt; options are {', '.join(known)}")
    segments = options.get("segments")
    texts = [segments] if isinstance(segments, str) else segments
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise _error("segments", f"must be a list of texts, got {segments!r}")
    words = {name: str(value) if type(value) is int else value for name, value in options.items()}  # positive=1
    for name in ("name", "instruction", "positive", "negative"):
        if not isinstance(words.get(name, ""), str):
            quoted = f"""'teacher.prompt.{name}="{str(words[name]).lower()}"'"""
            raise _error(name, f"must be a text, got {words[name]!r}; put such words in quotes: {quoted}")
    if not isinstance(options.get("bos"), bool | None):
        raise _error("bos", f"must be true, false or null, got {options['bos']!r}")
    return Prompt(**{"name": "unnamed", **words, "segments": tuple(texts)})


def _places(segment: str) -> list[str]:
    try:
        return [place for _, place, _, _ in Formatter().parse(segment) if place is not None]
    except ValueError as error:
        raise _error("segments", f"{segment!r}: {error}; write a literal brace twice, {{{{ or }}}}") from None


def _error(option: str, message: str) -> ConfigError:
    return ConfigError(f"teacher.prompt.{option} {message}")
