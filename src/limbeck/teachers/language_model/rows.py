"""Token rows of whole prompts; only the document is cut if a prompt is too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.config import ConfigError
from limbeck.teachers.language_model.prompt import Prompt
from limbeck.text.tokenizer import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


_TRIAL = 64
"""Maximum tokens of the rows that test a model."""


@dataclass(frozen=True)
class Row:
    """The tokens of one prompt."""

    ids: TokenIds
    end: int
    """Index of the token after the document."""
    cut: int
    """Number of tokens cut off the document's end."""

    def __len__(self) -> int:
        return len(self.ids)


class Rows:
    """Builds the token rows of prompts.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    prompt
        The template.
    length
        Maximum length of a row in tokens.
    closed
        Whether to end with the special tokens that the tokenizer adds after a text (``</s>``), as encoders expect;
        decoders would take them for the end of the text.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", prompt: Prompt, length: int, *, closed: bool) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._length = length
        before, after = self._frame()
        self._before = self._first(before)
        self._after = after if closed else []

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that the tokenizer adds before and after a text."""
        plain, framed = self._ids("a"), list(self._tokenizer("a")["input_ids"])  # pyright: ignore[reportArgumentType]
        start = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
        return framed[:start], framed[start + len(plain) :]

    def _first(self, before: list[int]) -> list[int]:
        """Return the special tokens at the start of a row; none if the template contains them."""
        bos = self._tokenizer.bos_token_id
        if self._prompt.bos is True and bos is None:
            raise ConfigError("teacher.prompt.bos: this tokenizer has no BOS token; set it to null")
        if self._prompt.bos is not None:
            before = [int(bos)] if self._prompt.bos else []  # pyright: ignore[reportArgumentType]
        written = self._ids(self._prompt.filled(self._prompt.segments[0], "")[0])
        return [] if before and written[: len(before)] == before else before

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]

    def check(self, query_id: str, query: str) -> None:
        """Raise ``ConfigError`` if a query's prompt leaves no room for a document."""
        self(query_id, query, [""])

    def samples(self) -> list[Row]:
        """Return short rows of this prompt with different ends and lengths, to test a model."""
        ids = [*self._before]
        for segment in self._prompt.segments:
            ids += self._ids(self._prompt.filled(segment, "a query")[0])
        ids = ids[: min(_TRIAL, self._length // 2)]
        return [Row(np.array(ids + ids[:more], dtype=np.int64), len(ids) + more, 0) for more in (1, 3, 7)]

    def __call__(self, query_id: str, query: str, documents: Sequence[str]) -> list[Row]:
        """Return one row per document.

        Raises
        ------
        ConfigError
            The prompt is too long even without a document; the message names the query.
        """
        prompt, place = self._prompt, self._prompt.place
        before, after = [
            [number for segment in segments for number in self._ids(prompt.filled(segment, query)[0])]
            for segments in (prompt.segments[:place], prompt.segments[place + 1 :])
        ]
        before, after = [*self._before, *before], [*after, *self._after]
        filled = [prompt.filled(prompt.segments[place], query, document) for document in documents]
        encoded: Any = self._tokenizer(
            [text for text, _ in filled], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        pieces = zip(encoded["input_ids"], encoded["offset_mapping"], filled, strict=True)
        return [self._row(query_id, before, ids, offsets, span, after) for ids, offsets, (_, span) in pieces]

    def _row(
        self,
        query_id: str,
        before: list[int],
        ids: list[int],
        offsets: list[tuple[int, int]],
        span: tuple[int, int],
        after: list[int],
    ) -> Row:
        own = [i for i, (start, end) in enumerate(offsets) if span[0] < end <= span[1] and start < end]
        first, last = (own[0], own[-1] + 1) if own else (len(ids), len(ids))
        whole = len(before) + len(ids) + len(after)
        bare = whole - (last - first)
        if bare >= self._length:
            raise ConfigError(
                f"query {query_id!r}: its prompt has {bare} tokens without a document, which leaves no room for one in "
                f"{self._length}; raise teacher.max_length (null is the model's maximum), or shorten the instruction "
                "or the query"
            )
        cut = max(0, whole - self._length)
        row = [*before, *ids[: last - cut], *ids[last:], *after]
        return Row(np.array(row, dtype=np.int64), len(before) + last - cut, cut)


def shared(rows: Sequence[Row]) -> int:
    """Return the length of the rows' common prefix, at most one less than the shortest row."""
    first, most = rows[0].ids, min(map(len, rows)) - 1
    for row in rows[1:]:
        differ = np.flatnonzero(first[:most] != row.ids[:most])
        most = int(differ[0]) if len(differ) else most
    return most
