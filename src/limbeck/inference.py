"""Run a ranker, student or teacher, over many texts: encode them, or score candidate lists."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from limbeck.compare import Similarity, pairwise
from limbeck.encodings import Kind, Rows, compact
from limbeck.gathered import Gathered
from limbeck.halfway import Halfway
from limbeck.plan import BLOCK, Plan
from limbeck.progress import Step, show
from limbeck.text.collate import Collator
from limbeck.text.text_format import TextFormat
from limbeck.text.tokenizer import Role, TokenIds
from limbeck.types import Batch, Encoding, StudentOutput, Tokens

_BATCH_TOKENS = 4096
"""Tokens per forward pass, padding included."""


class Ranker(Protocol):
    """A student, or a teacher that is a model."""

    style: TextFormat
    separable: bool
    """Whether queries and documents are encoded separately (bi-encoders)."""

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


class BiEncoder(Ranker, Similarity, Protocol):
    """A ranker that encodes queries and documents separately."""

    kind: Kind
    """Kind of its encodings."""

    def encode(self, tokens: Tokens, role: Role) -> Encoding:
        """Encode N texts: (N, T) token ids."""
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
    """Switch dropout off in this context."""
    before = ranker.training
    ranker.train(False)
    try:
        yield
    finally:
        ranker.train(before)


def _precision(device: torch.device, bf16: bool) -> AbstractContextManager:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def bf16_processor() -> bool:
    """Return whether the processor has bfloat16 instructions; without, bfloat16 is much slower than float32."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _moved(tokens: Tokens, device: torch.device) -> Tokens:
    """Return tokens on a device; a GPU copies them asynchronously, from page-locked memory."""
    return tokens.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tokens.to(device)


def groups(lengths: Sequence[int], tokens: int = _BATCH_TOKENS) -> Iterator[list[int]]:
    """Yield batches of positions of similar length, longest first, so that memory use is highest at the start.

    Parameters
    ----------
    lengths
        Lengths of the rows.
    tokens
        Most tokens per batch, padding included; a longer row is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


@torch.inference_mode()
def encode(ranker: BiEncoder, collator: Collator, ids: Sequence[str], role: Role, *, bf16: bool = False) -> Rows:
    """Encode texts by id.

    For documents, progress counts as part of the surrounding step; queries are encoded in a step of their own.

    Parameters
    ----------
    ranker
        A ranker that encodes queries and documents separately.
    collator
        Has the ranker's tokenizer and the texts.
    ids
        Ids of the texts; at least one.
    role
        Whether they are queries or documents.
    bf16
        Autocast to bfloat16.

    Returns
    -------
    Rows
        float32 on the ranker's device, in the order of ``ids``.
    """
    device = _device(ranker)
    collator.prepare(role, len(ids))
    rows = collator.query_rows(ids) if role == "query" else collator.document_rows(ids)
    gathered, batches = Gathered(len(ids)), list(groups([len(row) for row in rows]))
    unit = "queries" if role == "query" else "documents"
    for group in show(batches, len(ids), f"encoding {len(ids):,} {unit}", unit, part=role == "document"):
        with _evaluating(ranker), _precision(device, bf16):
            encoded = ranker.encode(_moved(collator.pad([rows[i] for i in group], role), device), role)
        gathered.add(compact(encoded, ranker.kind).float(), group)
    return gathered.rows()


def blocks(ids: Sequence[str], size: int = BLOCK) -> Iterator[Sequence[str]]:
    """Cut a long list of ids into blocks that are encoded one at a time."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


class Scorer:
    """Scores the parts of a plan with a ranker.

    Parameters
    ----------
    ranker
        Any ranker.
    collator
        Has the ranker's tokenizer and the texts.
    plan
        The pairs to score.
    bf16
        Autocast to bfloat16.
    """

    def __init__(self, ranker: Ranker, collator: Collator, plan: Plan, *, bf16: bool = False) -> None:
        self._ranker = ranker
        self._collator = collator
        self._plan = plan
        self._bf16 = bf16
        self._queries: Rows | None = None
        collator.prepare("query", len(plan.query_ids))
        collator.prepare("document", len(plan.document_ids) if ranker.separable else plan.pairs)

    def __call__(self, number: int) -> np.ndarray:
        """Return the float32 scores of a part."""
        with torch.inference_mode():
            return self._separately(number) if self._ranker.separable else self._pairs(number)

    def _separately(self, number: int) -> np.ndarray:
        ranker, plan = cast(BiEncoder, self._ranker), self._plan
        if self._queries is None:  # all queries, so that a part does not depend on parts scored before it
            self._queries = encode(ranker, self._collator, plan.query_ids, "query", bf16=self._bf16)
        rows = plan.part(number)
        documents, columns = np.unique(plan.documents[rows], return_inverse=True)
        encoded = encode(ranker, self._collator, [plan.document_ids[i] for i in documents], "document", bf16=self._bf16)
        return pairwise(ranker, self._queries, encoded, plan.queries[rows], columns)

    def _pairs(self, number: int) -> np.ndarray:
        ranker, device = cast(PairScorer, self._ranker), _device(self._ranker)
        pairs = list(zip(*self._plan.ids(number), strict=True))
        scored: list[Tensor] = []
        rows = _pair_rows(self._collator, pairs)
        batches = list(groups([len(query) + len(document) for query, document in rows]))
        for group in show(batches, len(pairs), f"scoring {len(pairs):,} pairs", "pairs", part=True):
            with _evaluating(ranker), _precision(device, self._bf16):
                tokens = _moved(self._collator.pad_pairs([rows[i] for i in group]), device)
                scored.append(ranker.score_pairs(tokens).float())
        values = np.empty(len(pairs), dtype=np.float32)
        values[[i for group in batches for i in group]] = torch.cat(scored).cpu().numpy()  # a single wait for the GPU
        return values


def score_lists(
    ranker: Ranker,
    collator: Collator,
    lists: Mapping[str, Sequence[str]],
    *,
    bf16: bool = False,
    size: int = BLOCK,
    share: tuple[int, int] = (0, 1),
    halfway: Halfway | None = None,
) -> dict[str, np.ndarray]:
    """Score candidate lists.

    Parameters
    ----------
    ranker
        Any ranker.
    collator
        Has the ranker's tokenizer and the texts.
    lists
        Query id → document ids.
    bf16
        Autocast to bfloat16.
    size
        Distinct documents (for bi-encoders) or pairs (for others) that are scored at once.
    share
        (i, n): score only every n-th part, starting with the i-th.
    halfway
        Where progress is saved; None saves nothing.

    Returns
    -------
    dict
        Query id → float32 scores in the order of the list; 0 for pairs of other shares. The composition of batches
        changes scores by rounding only, the share not at all.
    """
    lists = {query: documents for query, documents in lists.items() if documents}
    plan = Plan(lists, by_document=ranker.separable, size=size)
    score = Scorer(ranker, collator, plan, bf16=bf16)
    saved = {} if halfway is None else halfway.read()
    values, done = saved.get("values", np.zeros(plan.pairs, np.float32)), int(saved.get("done", 0))
    numbers = range(share[0] + done * share[1], len(plan), share[1])
    with Step("scoring candidates", sum(len(plan.part(number)) for number in numbers), "pairs", part=True) as step:
        for number in numbers:
            step.begin(len(plan.part(number)))
            values[plan.part(number)] = score(number)
            done += 1
            if halfway is not None:
                halfway.save(lambda done=done: {"values": values, "done": done})
            step.advance(len(plan.part(number)))
    return plan.split(values) if lists else {}


def _pair_rows(collator: Collator, pairs: Sequence[tuple[str, str]]) -> list[tuple[TokenIds, TokenIds]]:
    query_ids = list(dict.fromkeys(query for query, _ in pairs))
    document_ids = list(dict.fromkeys(document for _, document in pairs))
    queries = dict(zip(query_ids, collator.query_rows(query_ids), strict=True))
    documents = dict(zip(document_ids, collator.document_rows(document_ids), strict=True))
    return [(queries[query], documents[document]) for query, document in pairs]
