"""Run a ranker over many texts: encode them, or score candidate lists. Students and teachers alike."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from limbeck.text.collate import Collator, TextFormat
from limbeck.text.tokenizer import Row
from limbeck.types import Batch, StudentOutput, Tokens

log = logging.getLogger(__name__)

Role = Literal["query", "document"]

BLOCK = 8192
"""Texts tokenised, sorted by length and encoded together: bounds memory whatever the size of the collection."""

_BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included."""

_TELL_EVERY = 30.0
"""Seconds between two lines of progress in a log."""


class Ranker(Protocol):
    """What students are, and teachers that are models."""

    style: TextFormat
    separable: bool
    """True if queries and documents are encoded apart (bi-encoders)."""

    def __call__(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        ...

    training: bool

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Return the parameters, as ``nn.Module`` does."""
        ...

    def train(self, mode: bool = True) -> object:
        """Switch dropout on or off, as ``nn.Module`` does."""
        ...


class BiEncoder(Ranker, Protocol):
    """A separable ranker."""

    def encode(self, tokens: Tokens, role: Role) -> Tensor:
        """Embed texts: (N, T) → (N, D)."""
        ...

    def similarity(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Return all scores: (B, D) × (N, D) → (B, N)."""
        ...


class PairScorer(Ranker, Protocol):
    """A ranker that reads query and document together."""

    def score_pairs(self, tokens: Tokens) -> Tensor:
        """Score pairs: (N, T) → (N,)."""
        ...


def _device(ranker: Ranker) -> torch.device:
    return next(iter(ranker.parameters())).device


@contextmanager
def _evaluating(ranker: Ranker) -> Iterator[None]:
    """Switch dropout off, and back to what it was."""
    before = ranker.training
    ranker.train(False)
    try:
        yield
    finally:
        ranker.train(before)


def _precision(device: torch.device, bf16: bool) -> AbstractContextManager:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions in batches of like length, longest first: the worst memory use comes at once, not at the end."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, _BATCH_TOKENS // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _show(groups: list[list[int]], what: str) -> Iterator[list[int]]:
    """Show a progress bar on a terminal; in a log, a line every half minute."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(groups, description=what, console=console, transient=True)
        return
    start = told = time.monotonic()
    total, done = sum(map(len, groups)), 0
    for group in groups:
        yield group
        done += len(group)
        now = time.monotonic()
        if now - told > _TELL_EVERY:
            told, left = now, (total - done) * (now - start) / done
            log.info("%s: %d %%, %.0f/s, %.0f s left", what, 100 * done / total, done / (now - start), left)


@torch.inference_mode()
def encode(ranker: BiEncoder, collator: Collator, ids: Sequence[str], role: Role, *, bf16: bool = False) -> Tensor:
    """Embed texts by id.

    Parameters
    ----------
    ranker, collator
        A separable ranker and the collator that knows its texts.
    ids, role
        What to embed.
    bf16
        Autocast to bfloat16.

    Returns
    -------
    Tensor
        (N, D) float32 on the ranker's device, in the order of ``ids``.
    """
    device = _device(ranker)
    rows = collator.query_rows(ids) if role == "query" else collator.document_rows(ids)
    result: Tensor | None = None
    groups = list(_groups([len(row) for row in rows]))
    for group in _show(groups, f"encoding {len(ids):,} {'queries' if role == 'query' else 'documents'}"):
        with _evaluating(ranker), _precision(device, bf16):
            embedded = ranker.encode(collator.pad([rows[i] for i in group]).to(device), role).float()
        if result is None:
            result = embedded.new_empty((len(rows), embedded.shape[1]))
        result[torch.tensor(group, device=device)] = embedded
    assert result is not None, "encode needs at least one id"
    return result


def blocks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a long list of ids into pieces that are encoded one at a time."""
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK]


def score_lists(
    ranker: Ranker, collator: Collator, lists: Mapping[str, Sequence[str]], *, bf16: bool = False
) -> dict[str, np.ndarray]:
    """Score candidate lists.

    Parameters
    ----------
    ranker, collator
        Any ranker and the collator that knows its texts.
    lists
        Query id → document ids.
    bf16
        Autocast to bfloat16.

    Returns
    -------
    dict
        Query id → float32 scores in the order of the list. Batch composition changes nothing beyond rounding.
    """
    lists = {query: documents for query, documents in lists.items() if documents}
    if not lists:
        return {}
    if ranker.separable:
        return _score_separately(cast(BiEncoder, ranker), collator, lists, bf16)
    return _score_pairs(cast(PairScorer, ranker), collator, lists, bf16)


@torch.inference_mode()
def _score_separately(
    ranker: BiEncoder, collator: Collator, lists: Mapping[str, Sequence[str]], bf16: bool
) -> dict[str, np.ndarray]:
    scores = {query: np.empty(len(documents), dtype=np.float32) for query, documents in lists.items()}
    places: dict[str, list[tuple[str, int]]] = {}
    for query, documents in lists.items():
        for position, document in enumerate(documents):
            places.setdefault(document, []).append((query, position))
    query_ids = list(lists)
    row = {query: i for i, query in enumerate(query_ids)}
    queries = encode(ranker, collator, query_ids, "query", bf16=bf16)
    for block in blocks(list(places)):
        documents = encode(ranker, collator, block, "document", bf16=bf16)
        for start in range(0, len(block), 1024):
            part = ranker.similarity(queries, documents[start : start + 1024]).float().cpu().numpy()
            for column, document in enumerate(block[start : start + 1024]):
                for query, position in places[document]:
                    scores[query][position] = part[row[query], column]
    return scores


@torch.inference_mode()
def _score_pairs(
    ranker: PairScorer, collator: Collator, lists: Mapping[str, Sequence[str]], bf16: bool
) -> dict[str, np.ndarray]:
    device = _device(ranker)
    flat = [(query, document) for query, documents in lists.items() for document in documents]
    values = np.empty(len(flat), dtype=np.float32)
    for start in range(0, len(flat), BLOCK):
        part = flat[start : start + BLOCK]
        rows = _pair_rows(collator, part)
        groups = list(_groups([len(query) + len(document) for query, document in rows]))
        for group in _show(groups, f"scoring pairs {start:,} to {start + len(part):,} of {len(flat):,}"):
            with _evaluating(ranker), _precision(device, bf16):
                scored = ranker.score_pairs(collator.pad_pairs([rows[i] for i in group]).to(device))
            values[start + np.asarray(group)] = scored.float().cpu().numpy()
    ends = np.cumsum([len(documents) for documents in lists.values()])
    return dict(zip(lists, np.split(values, ends[:-1]), strict=True))


def _pair_rows(collator: Collator, pairs: Sequence[tuple[str, str]]) -> list[tuple[Row, Row]]:
    query_ids = list(dict.fromkeys(query for query, _ in pairs))
    document_ids = list(dict.fromkeys(document for _, document in pairs))
    queries = dict(zip(query_ids, collator.query_rows(query_ids), strict=True))
    documents = dict(zip(document_ids, collator.document_rows(document_ids), strict=True))
    return [(queries[query], documents[document]) for query, document in pairs]
