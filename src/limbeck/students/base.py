"""Base classes of students."""

import hashlib
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from limbeck.backbones.chunks import in_chunks
from limbeck.encodings import Kind
from limbeck.scores.kinds import Kind as Number
from limbeck.similarity import pick
from limbeck.text.collate import Role
from limbeck.text.text_format import TextFormat
from limbeck.types import Batch, Encoding, StudentOutput, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Student(nn.Module):
    """A trainable ranker; called on a batch, it scores the candidates.

    A student is a ``BiEncoder`` if it is ``separable``, else a ``PairScorer``.
    """

    separable: bool
    """Whether it encodes queries and documents separately, so that it can search a whole collection."""
    fields: frozenset[str] = frozenset()
    """Outputs in addition to scores: ``embeddings``, ``vectors`` (one per text), ``term_weights``."""
    context: ClassVar[str] = "it reads the states of a text's tokens"
    """Reason why the student does not work with ``backbone=static``, for messages; empty if it does."""
    number: Number = "similarity"
    """Kind of number that its scores are, for the provenance of stored scores."""
    reads_queries: bool = True
    """Whether a transformer encodes the queries."""
    style: TextFormat
    """How texts become tokens."""
    backbone: "PreTrainedModel"
    """Transformer of the documents, and of the queries unless ``query_backbone`` is set."""
    query_backbone: "PreTrainedModel | None"
    """Separate transformer of the queries; None if they share the documents'."""

    def __init__(self) -> None:
        super().__init__()
        self.query_backbone = None

    @abstractmethod
    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""

    def checksum(self) -> str:
        """Return the SHA-256 of all parameters and buffers with their names."""
        weights = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            weights.update(name.encode())
            weights.update(value.cpu().reshape(-1).view(torch.uint8).numpy())
        return weights.hexdigest()

    if TYPE_CHECKING:

        def __call__(self, batch: Batch) -> StudentOutput:
            """Score the candidates of a batch, and run hooks."""
            ...


class BiEncoder(Student):
    """A student that encodes queries and documents separately and compares the encodings."""

    separable = True
    kind: Kind
    """Kind of its encodings."""
    fields: frozenset[str] = frozenset({"embeddings"})

    _scale: float

    @property
    def scale(self) -> float:
        """Factor of the similarity (inner product or MaxSim)."""
        return self._scale

    @abstractmethod
    def encode(self, tokens: Tokens, role: Role) -> Encoding:
        """Return the encodings of N texts.

        Parameters
        ----------
        tokens
            (N, T) token ids.
        role
            ``query`` or ``document``.
        """

    @abstractmethod
    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return the (B, N) scores of B queries and N documents."""

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch; encode each distinct document once."""
        assert batch.queries is not None, "a bi-encoder needs separately tokenised queries"
        queries = in_chunks(self.encode, batch.queries, "query")
        documents = in_chunks(self.encode, batch.documents, "document")
        scores = pick(self.similarity(queries, documents), batch.index)
        return StudentOutput(scores, queries, documents, self.similarity)
