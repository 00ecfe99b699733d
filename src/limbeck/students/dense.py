"""Dense bi-encoder: one vector a text."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.inference import Role
from limbeck.registry import register
from limbeck.scoring import dot, pick
from limbeck.students.backbone import Load, Pooling, inputs, pool
from limbeck.text.collate import TextFormat
from limbeck.types import Batch, StudentOutput, Tokens


@register("student", "dense")
class Dense(nn.Module):
    r"""Dense bi-encoder, :math:`s(q, d) = \mathrm{scale} \cdot \langle E(q), E(d) \rangle`.

    Parameters
    ----------
    load
        Returns the transformer, shared by queries and documents.
    pooling
        ``mean`` over the tokens, or ``cls``, the first token.
    similarity
        ``dot``, or ``cosine``: embeddings are normalised.
    scale
        Factor of the similarity; cosines lie in [-1, 1], so a listwise loss needs about 10 to 50 there.
    query_prefix, document_prefix, query_length, document_length
        As in :class:`~limbeck.text.collate.TextFormat`.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Karpukhin et al., Dense Passage Retrieval for Open-Domain Question Answering, EMNLP 2020.
    """

    separable = True

    def __init__(
        self,
        load: Load,
        *,
        pooling: Literal["mean", "cls"] = "mean",
        similarity: Literal["dot", "cosine"] = "dot",
        scale: float = 1.0,
        query_prefix: str = "",
        document_prefix: str = "",
        query_length: int = 32,
        document_length: int = 128,
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got {pooling!r}")
        if similarity not in ("dot", "cosine"):
            raise ValueError(f"similarity must be dot or cosine, got {similarity!r}")
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.backbone = load("encoder")
        self.pooling: Pooling = pooling
        self.normalise = similarity == "cosine"
        self.scale = scale
        self.style = TextFormat(False, query_prefix, document_prefix, query_length, document_length)

    def encode(self, tokens: Tokens, role: Role) -> Tensor:
        """Embed texts: (N, T) → (N, D)."""
        del role  # one tower for both
        states = self.backbone(**inputs(self.backbone, tokens)).last_hidden_state
        embedded = pool(states, tokens, self.pooling)
        return F.normalize(embedded.float(), dim=-1) if self.normalise else embedded

    def similarity(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Return all scores: (B, D) × (N, D) → (B, N)."""
        return self.scale * dot(queries, documents)

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        assert batch.queries is not None, "a dense student needs separately tokenised queries"
        queries = self.encode(batch.queries, "query")
        documents = self.encode(batch.documents, "document")
        return StudentOutput(pick(self.similarity(queries, documents), batch.index), queries, documents, self.scale)
