"""A Hugging Face tokenizer seen as: texts to plain ids, ids to framed rows, rows to padded tensors.

Plain ids (without special tokens) can be kept and joined in any way, so one tokenisation of a text serves encoders
and cross-encoders; the frame ([CLS] … [SEP] and the like) is read off the tokenizer once.
"""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limbeck.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Row = list[int]


class TextTokenizer:
    """Tokenises, frames and pads.

    Parameters
    ----------
    tokenizer
        A fast Hugging Face tokenizer.

    Raises
    ------
    ValueError
        The tokenizer has no padding token, or frames texts in a way that cannot be read off.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        if tokenizer.pad_token_id is None:
            raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} has no padding token; set pad_token in it")
        self.tokenizer = tokenizer
        self.pad_id: int = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType]
        self._single = self._frame("a")
        self._pair = self._frame("a", "b")

    def _frame(self, *texts: str) -> list[tuple[Row, int]]:
        """Return the special tokens (with segment number) before, between and after the texts."""
        encoded = self.tokenizer(texts[0], texts[1] if len(texts) > 1 else None, return_token_type_ids=True)
        ids, types = list(encoded["input_ids"]), list(encoded["token_type_ids"])
        frame, start = [], 0
        for text in texts:
            plain = self.plain([text])[0]
            found = next((i for i in range(start, len(ids)) if ids[i : i + len(plain)] == plain), None)
            if not plain or found is None:
                raise ValueError(f"cannot read off how the tokenizer of {self.tokenizer.name_or_path!r} frames texts")
            frame.append((ids[start:found], types[found]))
            start = found + len(plain)
        return [*frame, (ids[start:], types[-1])]

    def plain(self, texts: Sequence[str], length: int | None = None) -> list[Row]:
        """Tokenise without special tokens, cut to ``length`` tokens."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            truncation=length is not None,
            max_length=length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return encoded["input_ids"]  # pyright: ignore[reportReturnType]

    @property
    def single_overhead(self) -> int:
        """Number of special tokens around one text."""
        return sum(len(ids) for ids, _ in self._single)

    def single(self, row: Row, marker: Sequence[int] = ()) -> Row:
        """Frame one text; ``marker`` goes in before its first token."""
        (before, _), (after, _) = self._single
        return [*before, *marker, *row, *after]

    def number(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary, or None."""
        return self.tokenizer.get_vocab().get(token)

    @cached_property
    def punctuation(self) -> Tensor:
        """The ids of the single punctuation characters that are tokens."""
        found = [self.number(character) for character in string.punctuation]
        return torch.tensor([number for number in found if number is not None], dtype=torch.long)

    def pair(self, first: Row, second: Row) -> tuple[Row, Row]:
        """Frame a pair; returns ids and segment numbers."""
        (before, type_a), (between, type_b), (after, _) = self._pair
        head = [*before, *first]
        # The separator after the first text belongs to the first segment, as BERT's own pairs have it.
        middle = list(between)
        return (
            [*head, *middle, *second, *after],
            [type_a] * (len(head) + len(middle)) + [type_b] * (len(second) + len(after)),
        )

    @cached_property
    def special(self) -> Tensor:
        """The ids of the special tokens."""
        return torch.tensor(self.tokenizer.all_special_ids, dtype=torch.long)

    def pad(self, rows: Sequence[Row], types: Sequence[Row] | None = None) -> Tokens:
        """Pad framed rows on the right to the longest of them."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        segments = None if types is None else torch.zeros_like(mask)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
            if segments is not None and types is not None:
                segments[i, : len(row)] = torch.tensor(types[i], dtype=torch.long)
        return Tokens(ids, mask, segments)


def train_wordpiece(texts: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Train a lower-casing BERT WordPiece tokenizer on texts and save it for transformers in ``folder``.

    The same texts in any order give the same vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    # The trainer numbers the inner characters in the order of a hash map, and breaks ties by number: name them all in
    # order first, and the same texts give the same vocabulary.
    inner = [f"##{character}" for character in sorted({character for word in words for character in word})]
    scratch = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # pyright: ignore[reportCallIssue]
    trainer = trainers.WordPieceTrainer(  # pyright: ignore[reportCallIssue]
        vocab_size=vocab_size, special_tokens=special + inner, show_progress=False
    )
    scratch.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    scratch.train_from_iterator((" ".join([word] * count) for word, count in sorted(words.items())), trainer)
    vocabulary = scratch.get_vocab()
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # pyright: ignore[reportCallIssue]
    tokenizer.normalizer = normalizer  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = splitter  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, special.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    fast.save_pretrained(folder)
