"""Dense bi-encoder: one vector per text."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.backbones.backbone import Load, Pooling
from limbeck.backbones.bags import check_pooling, embed
from limbeck.backbones.chunks import in_chunks
from limbeck.encodings import Kind
from limbeck.registry import register
from limbeck.similarity import dot, pick
from limbeck.students.base import BiEncoder
from limbeck.students.towers import second_tower, tower
from limbeck.text.collate import Role
from limbeck.text.text_format import TextFormat
from limbeck.types import Batch, Encoding, StudentOutput, Tokens

Activation = Literal["identity", "tanh", "relu", "gelu", "sigmoid"]
ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "identity": lambda values: values,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
}


@register("student", "dense")
class Dense(BiEncoder):
    r"""Dense bi-encoder, $`s(q, d) = \mathrm{scale} \cdot \langle E(q), E(d) \rangle`$.

    Parameters
    ----------
    load
        Function that returns the transformer.
    pooling
        Pooling of the token states. ``mean`` over the tokens, ``cls`` for the first token, or ``last`` for the last
        token (in a decoder, only the last token has read the whole text).
    similarity
        Similarity of two embeddings. ``dot`` product, or ``cosine``, which normalises embeddings.
    scale
        Factor of the similarity. Cosines lie in [-1, 1], so a listwise loss needs a scale of about 10 to 50 for them.
    learn_scale
        Train the scale, starting at ``scale``. Its logarithm is the parameter, so it stays positive.
    towers
        One or two transformers. ``shared``: one for queries and documents. ``separate``: two, with the same initial
        weights.
    projection
        Output dimension of a linear layer. It is applied to the pooled states, initially with W ~ N(0, 0.02²) and
        b = 0; null is no layer.
    projection_bias
        Whether the projection has a bias.
    activation
        Activation after the projection. One of identity, tanh, relu, gelu and sigmoid.
    dimension
        Dimension to truncate embeddings to. With null, all components are kept.
    matryoshka
        Smaller dimensions to train together with the full one. Each is trained with the whole objective, so that
        embeddings can be truncated to it later (``dimension``).
    query_prefix, document_prefix, query_length, document_length
        As in ``limbeck.text.text_format.TextFormat``.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Karpukhin et al., Dense Passage Retrieval for Open-Domain Question Answering, EMNLP 2020; Kusupati et al.,
    Matryoshka Representation Learning, NeurIPS 2022.
    """

    kind: Kind = "dense"
    fields: frozenset[str] = frozenset({"embeddings", "vectors"})
    context = ""

    def __init__(
        self,
        load: Load,
        *,
        pooling: Literal["mean", "cls", "last"] = "mean",
        similarity: Literal["dot", "cosine"] = "dot",
        scale: float = 1.0,
        learn_scale: bool = False,
        towers: Literal["shared", "separate"] = "shared",
        projection: int | None = None,
        projection_bias: bool = True,
        activation: Literal["identity", "tanh", "relu", "gelu", "sigmoid"] = "identity",
        dimension: int | None = None,
        matryoshka: list[int] = [],  # noqa: B006 - read as schema, never changed
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
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be >= 1 or null, got {projection}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if projection is None and activation != "identity":
            raise ValueError(f"activation={activation} needs a projection: set projection too")
        self.style = TextFormat(False, query_prefix, document_prefix, query_length, document_length)
        self.backbone = load("encoder")
        check_pooling(self.backbone, pooling)
        self.query_backbone = second_tower(self.backbone, towers)
        self.pooling: Pooling = pooling
        self.normalise = similarity == "cosine"
        self.number = "cosine" if self.normalise else "dot_product"
        width = self.backbone.config.hidden_size
        self.projection = None if projection is None else _projection(width, projection, projection_bias)
        self.activation: Activation = activation
        self.dimension, self.matryoshka = _sizes(
            projection or width, dimension, matryoshka, "projection" if projection else "backbone"
        )
        self._scale = scale
        self.log_scale = nn.Parameter(torch.tensor(scale).log()) if learn_scale else None

    @property
    def width(self) -> int:
        """Dimension of an embedding."""
        whole = self.backbone.config.hidden_size if self.projection is None else self.projection.out_features
        return self.dimension or whole

    @property
    def scale(self) -> float:
        """Current factor of the similarity."""
        return self._scale if self.log_scale is None else float(self.log_scale.detach().exp())

    def encode(self, tokens: Tokens, role: Role) -> Tensor:
        """Embed texts: (N, T) → (N, D)."""
        return self._finished(self._pooled(tokens, role), self.dimension)

    def _pooled(self, tokens: Tokens, role: Role) -> Tensor:
        backbone = tower(self.backbone, self.query_backbone, role)
        pooled = embed(backbone, tokens, self.pooling)
        return pooled if self.projection is None else ACTIVATIONS[self.activation](self.projection(pooled))

    def _finished(self, pooled: Tensor, size: int | None) -> Tensor:
        cut = pooled[:, :size]
        return F.normalize(cut.float(), dim=-1) if self.normalise else cut

    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return all scores: (B, D) × (N, D) → (B, N)."""
        assert isinstance(queries, Tensor), "a dense student encodes one vector a text"
        assert isinstance(documents, Tensor), "a dense student encodes one vector a text"
        return (self._scale if self.log_scale is None else self.log_scale.exp()) * dot(queries, documents)

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        assert batch.queries is not None, "a dense student needs separately tokenised queries"
        queries = in_chunks(self._pooled, batch.queries, "query")
        documents = in_chunks(self._pooled, batch.documents, "document")
        assert isinstance(queries, Tensor), "one vector a text"
        assert isinstance(documents, Tensor), "one vector a text"
        whole = self._output(queries, documents, batch, self.dimension)
        if self.training:
            whole.smaller = [self._output(queries, documents, batch, size) for size in self.matryoshka]
        return whole

    def _output(self, queries: Tensor, documents: Tensor, batch: Batch, size: int | None) -> StudentOutput:
        left, right = self._finished(queries, size), self._finished(documents, size)
        return StudentOutput(pick(self.similarity(left, right), batch.index), left, right, self.similarity)


def _projection(width: int, size: int, bias: bool) -> nn.Linear:
    layer = nn.Linear(width, size, bias=bias)
    nn.init.normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _sizes(width: int, dimension: int | None, matryoshka: list[int], of: str) -> tuple[int | None, list[int]]:
    """Check and return ``dimension`` and ``matryoshka``; ``of`` names the layer that has the width in messages."""
    if dimension is not None and not 0 < dimension <= width:
        raise ValueError(f"dimension must be in 1 … {width}, the width of the {of}, got {dimension}")
    most = dimension or width
    for size in matryoshka:
        if not 0 < size < most:
            raise ValueError(f"matryoshka must hold sizes in 1 … {most - 1}, smaller than the whole, got {size}")
    if len(set(matryoshka)) < len(matryoshka):
        raise ValueError(f"matryoshka holds a size twice: {list(matryoshka)}")
    return dimension, list(matryoshka)
