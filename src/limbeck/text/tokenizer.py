"""Tokenisation in three steps: texts to plain ids, plain ids to framed rows, rows to padded tensors.

Plain ids have no special tokens, so they can be cached and used by bi-encoders and cross-encoders alike. Framed rows
have special tokens, such as [CLS] … [SEP], which are determined from the Hugging Face tokenizer once.
"""

import json
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.config import ConfigError, fingerprint
from limbeck.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Role = Literal["query", "document"]

TokenIds = NDArray[np.integer[Any]]
"""Token ids of one text; read-only, as it may be a memory-mapped file."""


class TextTokenizer:
    """Tokenises texts, adds special tokens, and pads.

    Parameters
    ----------
    tokenizer
        A fast Hugging Face tokenizer.
    bare
        For static models, which ignore padding and accept empty texts: a tokenizer without a padding token pads with
        token 0, and empty texts stay empty.

    Raises
    ------
    ValueError
        The tokenizer has no padding token and ``bare`` is False, or its special tokens cannot be determined.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", *, bare: bool = False) -> None:
        pad_id: Any = 0 if bare and tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if pad_id is None:
            raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} has no padding token; set pad_token in it")
        self.tokenizer = tokenizer
        self.pad_id: int = int(pad_id)
        self._bare = bare
        self.dtype = np.dtype(np.uint16 if max(tokenizer.get_vocab().values()) < 1 << 16 else np.int32)
        """Type of stored token ids: uint16 if the vocabulary allows it."""
        self._single = self._frame("a")
        self._pair = self._frame("a", "b")

    def _frame(self, *texts: str) -> list[tuple[list[int], int]]:
        """Return the special tokens, with segment numbers, before, between and after the texts."""
        if self.tokenizer.backend_tokenizer.post_processor is None:
            return [([], number) for number in (0, *range(len(texts)))]
        encoded = self.tokenizer(texts[0], texts[1] if len(texts) > 1 else None, return_token_type_ids=True)
        ids, types = list(encoded["input_ids"]), list(encoded["token_type_ids"])
        frame, start = [], 0
        for text in texts:
            plain = self.plain([text])[0].tolist()
            found = next((i for i in range(start, len(ids)) if ids[i : i + len(plain)] == plain), None)
            if not plain or found is None:
                raise ValueError(f"cannot find the special tokens of the tokenizer of {self.tokenizer.name_or_path!r}")
            frame.append((ids[start:found], types[found]))
            start = found + len(plain)
        return [*frame, (ids[start:], types[-1])]

    def plain(self, texts: Sequence[str], length: int | None = None) -> list[TokenIds]:
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
        return [np.array(ids, dtype=self.dtype) for ids in encoded["input_ids"]]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]

    def ended(self) -> "TextTokenizer":
        """Return a tokenizer that adds its end token (eos) after each text and pair; itself if it does so already.

        Raises
        ------
        ConfigError
            The tokenizer has no end token.
        """
        from tokenizers import processors

        tokens, end = self.tokenizer, str(self.tokenizer.eos_token)
        if tokens.eos_token is None:
            raise ConfigError(f"end_token: the tokenizer of {tokens.name_or_path!r} has no end token (eos_token)")
        (before, _), (after, _) = self._single
        if after[-1:] == [tokens.eos_token_id]:
            return self
        frames = {"single": self._template(self._single, end), "pair": self._template(self._pair, end)}
        special = {*before, *after, *(token for ids, _ in self._pair for token in ids), int(tokens.eos_token_id)}  # pyright: ignore[reportArgumentType]
        tokens.backend_tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            **frames, special_tokens=[(str(tokens.convert_ids_to_tokens(token)), token) for token in sorted(special)]
        )
        return TextTokenizer(tokens)

    def _template(self, frame: list[tuple[list[int], int]], end: str) -> list[str]:
        """Return special tokens as a template of ``tokenizers``, with the end token added."""
        written: list[str] = []
        for text, (ids, segment) in zip(("$A", "$B"), frame[:-1], strict=False):
            written += [f"{token}:{segment}" for token in [*self.tokenizer.convert_ids_to_tokens(ids), text]]
        ids, segment = frame[-1]
        return [*written, *(f"{token}:{segment}" for token in [*self.tokenizer.convert_ids_to_tokens(ids), end])]

    def save(self, folder: Path) -> None:
        """Save the tokenizer in transformers' format, without the current truncation and padding."""
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(folder)

    @property
    def cuts_left(self) -> bool:
        """Whether it cuts long texts at the start instead of the end."""
        return self.tokenizer.truncation_side == "left"

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of everything that plain token ids depend on; not of name, special tokens and padding."""
        import tokenizers

        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        own = {name: part for name, part in backend.items() if name not in ("truncation", "padding", "post_processor")}
        special = self.tokenizer.split_special_tokens
        return fingerprint([tokenizers.__version__, own, special, self.tokenizer.truncation_side])

    @property
    def single_overhead(self) -> int:
        """Number of special tokens around one text."""
        return sum(len(ids) for ids, _ in self._single)

    @property
    def pair_overhead(self) -> int:
        """Number of special tokens around and between two texts."""
        return sum(len(ids) for ids, _ in self._pair)

    def framed(self, rows: Sequence[TokenIds], marker: Sequence[int] = ()) -> list[TokenIds]:
        """Add special tokens to plain rows, and ``marker`` before the first token of each."""
        (before, _), (after, _) = self._single
        head, tail = self._row([*before, *marker]), self._row(after)
        if not rows:
            return []
        if not (len(head) + len(tail) or self._bare):
            rows = [self._something(row) for row in rows]
        joined = np.concatenate([piece for row in rows for piece in (head, row, tail)])
        ends = np.cumsum(_lengths(rows) + (len(head) + len(tail))).tolist()
        return [joined[start:end] for start, end in pairwise([0, *ends])]

    def _row(self, ids: Sequence[int]) -> TokenIds:
        return np.array(ids, dtype=self.dtype)

    def _something(self, row: TokenIds) -> TokenIds:
        """Return a row, or one padding token for an empty row, as models need at least one token."""
        return row if len(row) else self._row([self.pad_id])

    def number(self, token: str) -> int | None:
        """Return the id of a token; None if it is not in the vocabulary."""
        return self.tokenizer.backend_tokenizer.token_to_id(token)

    @cached_property
    def punctuation(self) -> Tensor:
        """Ids of the punctuation characters in the vocabulary."""
        found = [self.number(character) for character in string.punctuation]
        return torch.tensor([number for number in found if number is not None], dtype=torch.long)

    @cached_property
    def special(self) -> Tensor:
        """Ids of the special tokens."""
        return torch.tensor(self.tokenizer.all_special_ids, dtype=torch.long)

    def pad(self, rows: Sequence[TokenIds], *, width: int | None = None, fill: int | None = None) -> Tokens:
        """Pad framed rows on the right.

        Parameters
        ----------
        rows
            N ≥ 1 rows.
        width
            Length of padded rows; None is the length of the longest row.
        fill
            Token id of the padding; None is the padding token.
        """
        lengths = _lengths(rows)
        return self._padded(rows, lengths, width or int(lengths.max()), self.pad_id if fill is None else fill)

    def pad_pairs(self, firsts: Sequence[TokenIds], seconds: Sequence[TokenIds]) -> Tokens:
        """Join N pairs of plain rows with special tokens, and pad them on the right to the longest pair."""
        (before, type_a), (between, type_b), (after, _) = self._pair
        head, middle, tail = self._row(before), self._row(between), self._row(after)
        if not self.pair_overhead:
            seconds = [
                second if len(first) else self._something(second) for first, second in zip(firsts, seconds, strict=True)
            ]
        pieces = [
            piece
            for first, second in zip(firsts, seconds, strict=True)
            for piece in (head, first, middle, second, tail)
        ]
        # As in BERT, the separator after the first text belongs to the first segment.
        border = _lengths(firsts) + (len(head) + len(middle))
        lengths = border + _lengths(seconds) + len(tail)
        tokens = self._padded(pieces, lengths, int(lengths.max()), self.pad_id)
        segments = np.where(np.arange(int(lengths.max())) < border[:, None], type_a, type_b)
        tokens.token_type_ids = torch.from_numpy(segments) * tokens.attention_mask
        return tokens

    @staticmethod
    def _padded(pieces: Sequence[TokenIds], lengths: NDArray[np.int64], width: int, fill: int) -> Tokens:
        """Return (N, T) tensors of rows, given as their consecutive pieces."""
        real = np.arange(width) < lengths[:, None]
        ids = np.full(real.shape, fill, dtype=np.int64)
        ids[real] = np.concatenate(pieces)
        mask = torch.from_numpy(real.astype(np.int64))
        return Tokens(torch.from_numpy(ids), mask, lengths=lengths.tolist())


def _lengths(rows: Sequence[TokenIds]) -> NDArray[np.int64]:
    return np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))


def train_wordpiece(texts: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Train an uncased WordPiece tokenizer on texts, and save it in transformers' format in ``folder``.

    The vocabulary does not depend on the order of the texts.

    Raises
    ------
    ConfigError
        All texts are empty.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    if not words:
        raise ConfigError(
            "there is nothing to train a tokenizer on: all texts are empty; to use the tokenizer of a checkpoint: "
            "backbone=pretrained backbone.model=…"
        )
    # The trainer numbers inner characters in the order of a hash map, and breaks ties by number. Listing them in order
    # first makes the vocabulary deterministic.
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
