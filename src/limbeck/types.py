"""Data types shared by the layers, with one legend of shapes for all code.

B queries, L candidates of a query, N distinct document (or pair) rows of a batch, T tokens, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.rankings import Qrels, Ranking, Run, order, ties


def moved(value: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of this process on a device.

    To a GPU it is copied from page-locked memory, after the work queued before: a plain copy would wait for that work.
    """
    if device.type == "cuda":
        value = value.pin_memory()
    return value.to(device, non_blocking=device.type != "cpu")


class _Movable:
    """Moves and pins every tensor of a dataclass; Lightning calls both methods."""

    def _map(self, function: Any) -> Self:
        changed = {}
        for item in fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, item.name)
            if isinstance(value, Tensor | _Movable):
                changed[item.name] = function(value)
        return replace(self, **changed)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return a copy with all tensors moved by ``Tensor.to``."""
        return self._map(lambda value: value.to(*args, **kwargs))

    def pin_memory(self) -> Self:
        """Return a copy in page-locked memory."""
        return self._map(lambda value: value.pin_memory())


@dataclass
class Tokens(_Movable):
    """Padded token ids of N texts (or pairs of texts)."""

    input_ids: Tensor
    """(N, T) int64."""
    attention_mask: Tensor
    """(N, T) int64, 1 where there is a token."""
    token_type_ids: Tensor | None = None
    """(N, T) int64 segment numbers, for backbones that have them."""
    kept: Tensor | None = None
    """(N, T) bool: tokens for which a multi-vector encoder returns a vector; None for all real tokens."""
    lengths: list[int] | None = None
    """Number of real tokens, which come first, of each row, on the host. None if others attend to padding."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    def rows(self, rows: Sequence[int], width: int) -> "Tokens":
        """Return some of the texts, by ``rows``, cut or padded to ``width`` tokens."""
        index = moved(torch.tensor(rows), self.input_ids.device)
        more = max(0, width - self.input_ids.shape[1])
        found = self._map(lambda value: F.pad(value[index, :width], (0, more)) if more else value[index, :width])
        found.lengths = None if self.lengths is None else [self.lengths[row] for row in rows]
        return found


@dataclass
class Vectors(_Movable):
    """Several vectors per text: a multi-vector encoder's encodings of N texts."""

    values: Tensor
    """(N, T, D); 0 where ``mask`` is False."""
    mask: Tensor
    """(N, T) bool, False for padding and for tokens that are skipped."""

    def __len__(self) -> int:
        return self.values.shape[0]


Encoding = Tensor | Vectors
"""An encoder's output for N texts: (N, D) vectors, (N, V) weights of words, or several vectors per text."""


@dataclass
class Batch(_Movable):
    """B queries with L candidates each.

    ``documents`` holds each distinct document of the batch once; ``index`` has the row of candidate l of query b.
    For pair models (cross-encoders) ``queries`` is None and ``documents`` holds the query-document pairs.
    """

    queries: Tokens | None
    documents: Tokens
    index: Tensor
    """(B, L) int64 rows of ``documents``; 0 where ``mask`` is False."""
    mask: Tensor
    """(B, L) bool, False for padding."""
    labels: Tensor
    """(B, L) float32 relevance grades; > 0 is a positive; 0 for padding."""
    teacher_scores: Tensor | None = None
    """(B, L) float32 raw teacher scores; 0 for padding."""
    ranks: Tensor | None = None
    """(B, L) float32 1-based ranks in the candidate ranking; 1 for padding. A float, since losses take 1/rank."""
    document_keys: Tensor | None = None
    """(N,) int64 of ``limbeck.scores.keys``: equal keys are the same document, in all processes."""
    positives: Tensor | None = None
    """(B, P) int64 keys of the documents that are judged relevant, in the batch or not; ``NO_KEY`` for padding."""
    teacher_queries: Tensor | None = None
    """(B, D) float32: a dense teacher's vectors of the queries, for losses on embeddings."""
    teacher_documents: Tensor | None = None
    """(N, D) float32: a dense teacher's vectors of the documents."""
    query_ids: list[str] = field(default_factory=list)
    document_ids: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.index.shape[0]


@dataclass
class StudentOutput(_Movable):
    """A student's output for a batch."""

    scores: Tensor
    """(B, L); the value under padding is meaningless."""
    queries: Encoding | None = None
    """Encodings of the B queries; only of an encoder."""
    documents: Encoding | None = None
    """Encodings of the N distinct documents; only of an encoder."""
    similarity: Callable[[Encoding, Encoding], Tensor] | None = None
    """All scores (B, N) of queries and documents, with gradients, for in-batch losses; only of an encoder."""
    smaller: list["StudentOutput"] = field(default_factory=list)
    """Outputs with vectors cut to fewer dimensions, which are trained by the same losses (Matryoshka)."""


__all__ = ["Batch", "Encoding", "Qrels", "Ranking", "Run", "StudentOutput", "Tokens", "Vectors", "order", "ties"]
