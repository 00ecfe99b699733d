"""Collation of examples into batches; only here do token rows become tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch

from limbeck.config import ConfigError
from limbeck.scores.keys import signed_keys
from limbeck.text.cache import TokenCache
from limbeck.text.columns import Column, fill, fill_all, relevant_keys
from limbeck.text.text_format import TextFormat
from limbeck.text.token_store import MOST, TokenStore
from limbeck.text.tokenizer import Role, TextTokenizer, TokenIds
from limbeck.types import Batch, Tokens

_TOKENISED = 2048
"""Texts that are tokenised together: meanwhile they take several kB each."""

Texts = Callable[[Sequence[str]], list[str]]
"""Function from ids to their texts, in the same order."""


@dataclass
class Example:
    """One query with its candidates."""

    query_id: str
    document_ids: list[str]
    labels: Column = field(default_factory=list)
    teacher_scores: Column | None = None
    ranks: Column | None = None
    relevant: np.ndarray | None = None
    """int64 keys (``limbeck.scores.keys``) of all documents that are relevant by the qrels."""


class Collator:
    """Turns examples into a ``Batch``.

    Parameters
    ----------
    tokenizer
        The ranker's tokenizer.
    style
        The ranker's text format.
    query_texts, document_texts
        Functions from query (document) ids to texts.
    cache
        Token cache; None tokenises texts on the fly.

    Raises
    ------
    ConfigError
        The tokenizer lacks a token that the format needs, or a maximum length leaves no room for a word.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        style: TextFormat,
        query_texts: Texts,
        document_texts: Texts,
        cache: TokenCache | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.style = style
        self.markers = {
            "query": self._marker("query_marker", style.query_marker, "[unused0]"),
            "document": self._marker("document_marker", style.document_marker, "[unused1]"),
        }
        """Role → marker token of its texts; None for no marker."""
        if not style.paired:
            self._check_room("query", style.query_length)
            self._check_room("document", style.document_length)
        if style.query_augment and tokenizer.tokenizer.mask_token_id is None:
            raise ConfigError("student.query_augment needs a mask token, which this tokenizer lacks; set it to false")
        roles: tuple[Role, ...] = ("query", "document")
        self._suffixes: dict[Role, TokenIds] = {role: tokenizer.plain([self._suffix(role)])[0] for role in roles}
        for role, suffix in self._suffixes.items():
            if len(suffix) >= self._length(role):
                raise ConfigError(
                    f"student.{role}_length: {self._length(role)} tokens leave no room for a word before the "
                    f"{len(suffix)} of {role}_suffix; raise it"
                )
        self._skipped: dict[Role, torch.Tensor] = {"query": self._special(), "document": self._passed_over()}
        self._texts: dict[Role, Texts] = {"query": query_texts, "document": document_texts}
        self._cache = cache
        self._kept: dict[Role, TokenStore] = {}

    def _marker(self, key: str, token: str, usual: str) -> str | None:
        wanted = usual if token == "auto" else token
        if not wanted or (token == "auto" and self.tokenizer.number(usual) is None):
            return None
        if self.tokenizer.number(wanted) is None:
            raise ConfigError(
                f"student.{key}: {wanted!r} is no token of this tokenizer; give one of its vocabulary, "
                'auto, or "" for none'
            )
        return wanted

    def _special(self) -> torch.Tensor:
        if not self.style.skip_special:
            return torch.empty(0, dtype=torch.long)
        special, unknown = self.tokenizer.special, self.tokenizer.tokenizer.unk_token_id
        return special[special != unknown] if self.style.keep_unknown and unknown is not None else special

    def _passed_over(self) -> torch.Tensor:
        """Return the ids of document tokens that get no vector."""
        found = [self.tokenizer.number(word) for word in self.style.skip_words]
        words = torch.tensor([number for number in found if number is not None], dtype=torch.long)
        return torch.cat([self.tokenizer.punctuation, words]) if self.style.skip_punctuation else words

    def _check_room(self, role: Role, length: int) -> None:
        special = self.tokenizer.single_overhead + (self.markers[role] is not None)
        if length <= special:
            raise ConfigError(
                f"student.{role}_length: {length} tokens leave no room for a word beside {special} special ones; "
                "raise it"
            )

    def styled(self, style: TextFormat) -> "Collator":
        """Return a collator with the same texts and tokenizer, and another text format."""
        return Collator(self.tokenizer, style, self._texts["query"], self._texts["document"], self._cache)

    def prepare(self, role: Role, reads: int | None = None) -> bool:
        """Open the cached tokens of queries or documents, or tokenise and cache all of them if it is worth it.

        Call this before reading many texts, and before starting other processes. It does not change any row.

        Parameters
        ----------
        role
            Queries or documents.
        reads
            Number of texts that will be read, with repetitions; None for the whole collection.

        Returns
        -------
        bool
            Whether rows are read from the cache from now on.
        """
        wanted = reads != 0 and role not in self._kept and self._length(role) + bool(self._suffix(role)) <= MOST
        if self._cache is not None and wanted:
            opened = self._cache.open(role, self._prefix(role), reads, suffix=self._suffix(role))
            if opened is not None:
                self._kept[role] = opened
        return role in self._kept

    def query_rows(self, ids: Sequence[str]) -> list[TokenIds]:
        """Return token rows of queries: with special tokens for bi-encoders, without for rankers that read pairs."""
        return self._rows(ids, "query")

    def document_rows(self, ids: Sequence[str]) -> list[TokenIds]:
        """Return token rows of documents, like ``query_rows``."""
        return self._rows(ids, "document")

    def _length(self, role: Role) -> int:
        return self.style.query_length if role == "query" else self.style.document_length

    def _prefix(self, role: Role) -> str:
        return self.style.query_prefix if role == "query" else self.style.document_prefix

    def _suffix(self, role: Role) -> str:
        return self.style.query_suffix if role == "query" else self.style.document_suffix

    def _rows(self, ids: Sequence[str], role: Role) -> list[TokenIds]:
        if self.style.paired:
            return self._plain(ids, role, self._length(role))
        token = self.markers[role]
        marker = [] if token is None else [self.tokenizer.number(token) or 0]
        rows = self._plain(ids, role, self._length(role) - self.tokenizer.single_overhead - len(marker))
        return self.tokenizer.framed(rows, marker)

    def _plain(self, ids: Sequence[str], role: Role, length: int) -> list[TokenIds]:
        """Return rows of at most ``length`` tokens, without special tokens; the suffix is never cut."""
        suffix = self._suffixes[role]
        if not len(suffix) or self.tokenizer.cuts_left:  # cutting on the left keeps the suffix
            return self._cut(ids, role, length)
        rows, kept = self._cut(ids, role, length + 1), length - len(suffix)
        return [row if len(row) <= length else np.concatenate([row[:kept], suffix]) for row in rows]

    def _cut(self, ids: Sequence[str], role: Role, length: int) -> list[TokenIds]:
        if role not in self._kept:
            return self._tokenised(ids, role, length)
        kept = self._kept[role].rows(ids, length)
        lacking = [name for name, row in zip(ids, kept, strict=True) if row is None]
        others = iter(self._tokenised(lacking, role, length) if lacking else [])
        return [next(others) if row is None else row for row in kept]

    def _tokenised(self, ids: Sequence[str], role: Role, length: int) -> list[TokenIds]:
        prefix, suffix = self._prefix(role), self._suffix(role)
        found: list[TokenIds] = []
        for start in range(0, len(ids), _TOKENISED):
            texts = self._texts[role](ids[start : start + _TOKENISED])
            found += self.tokenizer.plain([prefix + text + suffix for text in texts], length)
        return found

    def pad(self, rows: Sequence[TokenIds], role: Role) -> Tokens:
        """Pad rows with special tokens; augment queries, and mark the tokens that get a vector."""
        if role == "query" and self.style.query_augment:
            return self._augmented(rows)
        tokens = self.tokenizer.pad(rows)
        skipped = self._skipped[role]
        if len(skipped):
            tokens.kept = tokens.attention_mask.bool() & ~torch.isin(tokens.input_ids, skipped)
        return tokens

    def _augmented(self, rows: Sequence[TokenIds]) -> Tokens:
        mask_id = int(self.tokenizer.tokenizer.mask_token_id)  # pyright: ignore[reportArgumentType]
        tokens = self.tokenizer.pad(rows, width=self.style.query_length, fill=mask_id)
        tokens.kept = torch.ones_like(tokens.input_ids, dtype=torch.bool)
        if self.style.attend_augmented:
            tokens.attention_mask = torch.ones_like(tokens.input_ids)
            tokens.lengths = [self.style.query_length] * len(rows)
        else:
            tokens.lengths = None
        return tokens

    def pad_pairs(self, pairs: Sequence[tuple[TokenIds, TokenIds]]) -> Tokens:
        """Join pairs of rows with special tokens, and pad them. A long document never cuts the query."""
        queries, documents = zip(*pairs, strict=True)
        return self.tokenizer.pad_pairs(queries, documents)

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Build a batch; tokenise each distinct document (or pair) once, so that the model encodes it once."""
        rows: dict[tuple[str | None, str], int] = {}
        places = []
        for example in examples:
            owner = example.query_id if self.style.paired else None
            places.append([rows.setdefault((owner, document), len(rows)) for document in example.document_ids])
        lengths = np.array([len(each) for each in places])
        width = int(lengths.max())
        mask = np.arange(width) < lengths[:, None]
        index = np.zeros(mask.shape, dtype=np.int64)
        index[mask] = np.fromiter(chain.from_iterable(places), dtype=np.int64)
        queries, documents = self._tokens(examples, rows)
        relevant, keys = None, None
        if not self.style.paired:
            relevant = relevant_keys([example.relevant for example in examples])
        if relevant is not None:
            keys = torch.from_numpy(signed_keys([document for _, document in rows]))
        return Batch(
            queries=queries,
            documents=documents,
            index=torch.from_numpy(index),
            mask=torch.from_numpy(mask),
            labels=fill([example.labels for example in examples], width, 0.0),
            teacher_scores=fill_all([example.teacher_scores for example in examples], width, 0.0),
            ranks=fill_all([example.ranks for example in examples], width, 1.0),
            document_keys=keys,
            positives=relevant,
            query_ids=[example.query_id for example in examples],
            document_ids=[example.document_ids for example in examples],
        )

    def _tokens(
        self, examples: Sequence[Example], rows: dict[tuple[str | None, str], int]
    ) -> tuple[Tokens | None, Tokens]:
        distinct = list(dict.fromkeys(document for _, document in rows))
        documents = dict(zip(distinct, self.document_rows(distinct), strict=True))
        query_ids = [example.query_id for example in examples]
        queries = self.query_rows(query_ids)
        if not self.style.paired:
            return self.pad(queries, "query"), self.pad([documents[document] for _, document in rows], "document")
        by_id = dict(zip(query_ids, queries, strict=True))
        return None, self.pad_pairs([(by_id[query], documents[document]) for query, document in rows if query])
