"""What students are, and what bi-encoders share."""

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
    """A ranker that can be trained: called on a batch, it scores the candidates.

    A student is a ``BiEncoder`` if it is ``separable``, else a
    ``PairScorer``.
    """

    separable: bool
    """Queries and documents are encoded apart, so that a whole collection can be searched."""
    fields: frozenset[str] = frozenset()
    """What its output has beside scores: ``embeddings``, ``vectors`` (one a text), ``term_weights``."""
    context: ClassVar[str] = "it reads the states of a text's tokens"
    """Why vectors of single tokens (``backbone=static``) will not do; empty where they will."""
    number: Number = "similarity"
    """What kind of number a score is, for the provenance of stored scores."""
    reads_queries: bool = True
    """Queries go through a transformer."""
    style: TextFormat
    backbone: "PreTrainedModel"
    query_backbone: "PreTrainedModel | None"
    """The queries' own transformer; None where they share that of the documents."""

    def __init__(self) -> None:
        super().__init__()
        self.query_backbone = None

    @abstractmethod
    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""

    def checksum(self) -> str:
        """Return the sha256 of all parameters and buffers, by name."""
        weights = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            weights.update(name.encode())
            weights.update(value.cpu().reshape(-1).view(torch.uint8).numpy())
        return weights.hexdigest()

    if TYPE_CHECKING:

        def __call__(self, batch: Batch) -> StudentOutput:
            """Score the candidates of a batch, hooks included."""
            ...


class BiEncoder(Student):
    """A student that encodes queries and documents apart, and compares the encodings."""

    separable = True
    kind: Kind
    """What it makes of a text."""
    fields: frozenset[str] = frozenset({"embeddings"})

    _scale: float

    @property
    def scale(self) -> float:
        """Factor of the similarity: of the inner product, or of the late interaction of several vectors."""
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
        """Return all scores of B queries and N documents, (B, N)."""

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch; each distinct document is encoded once."""
        assert batch.queries is not None, "a bi-encoder needs separately tokenised queries"
        queries = in_chunks(self.encode, batch.queries, "query")
        documents = in_chunks(self.encode, batch.documents, "document")
        scores = pick(self.similarity(queries, documents), batch.index)
        return StudentOutput(scores, queries, documents, self.similarity)
