"""SPLADE: weights of the words of the vocabulary."""

from typing import Literal, get_args

import torch
from torch import Tensor

from limbeck.backbones.backbone import Load
from limbeck.backbones.mlm import mlm_parts
from limbeck.backbones.packing import states
from limbeck.encodings import Kind
from limbeck.registry import register
from limbeck.scores.kinds import Kind as Number
from limbeck.similarity import dot
from limbeck.students.base import BiEncoder
from limbeck.students.towers import second_tower, tower
from limbeck.students.vocabulary import max_logits
from limbeck.text.collate import Role
from limbeck.text.text_format import TextFormat
from limbeck.types import Encoding, Tokens

QueryEncoder = Literal["shared", "separate", "tokens"]


@register("student", "splade")
class Splade(BiEncoder):
    r"""Sparse bi-encoder, :math:`s(q, d) = \mathrm{scale} \cdot \sum_v w_v(q)\, w_v(d)`.

    .. math:: w_v = \ln\left(1 + \max(0, \max_t \mathrm{logit}_{tv})\right)

    over the real tokens t of a text, special tokens included; the logits are those of the backbone's masked language
    model. Sparsity is learned: add ``flops`` or ``l1`` to the losses.

    Parameters
    ----------
    load
        Returns the masked language model.
    query_encoder
        ``shared`` with the documents, ``separate`` from them, or ``tokens``: no model reads the query, each of its
        distinct tokens weighs 1 (special tokens do not count), and only documents are expanded.
    scale
        Factor of the score. Where the logits start large, scores differ by dozens and a listwise loss learns from one
        document alone: lower it.
    query_prefix, document_prefix, query_length, document_length
        As in :class:`~limbeck.text.text_format.TextFormat`.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Formal et al., SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval, 2021 (max pooling and
    SPLADE-doc); From Distillation to Hard Negative Sampling, SIGIR 2022.
    """

    kind: Kind = "sparse"
    number: Number = "dot_product"
    fields: frozenset[str] = frozenset({"embeddings", "term_weights"})

    def __init__(
        self,
        load: Load,
        *,
        query_encoder: Literal["shared", "separate", "tokens"] = "shared",
        scale: float = 1.0,
        query_prefix: str = "",
        document_prefix: str = "",
        query_length: int = 32,
        document_length: int = 128,
    ) -> None:
        super().__init__()
        if query_encoder not in get_args(QueryEncoder):
            raise ValueError(f"query_encoder must be one of {', '.join(get_args(QueryEncoder))}, got {query_encoder!r}")
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.style = TextFormat(
            False, query_prefix, document_prefix, query_length, document_length, skip_special=query_encoder == "tokens"
        )
        self.backbone = load("mlm")
        self.query_encoder: QueryEncoder = query_encoder
        self.query_backbone = second_tower(self.backbone, "separate" if query_encoder == "separate" else "shared")
        self._scale = scale

    @property
    def width(self) -> int:
        """Size of the vocabulary."""
        return int(self.backbone.config.vocab_size)

    def encode(self, tokens: Tokens, role: Role) -> Tensor:
        """Weigh the words of the vocabulary: (N, T) → (N, V), in float32 or better."""
        if role == "query" and self.query_encoder == "tokens":
            return self._tokens(tokens)
        model = tower(self.backbone, self.query_backbone, role)
        transform, weight, bias = mlm_parts(model)
        found = transform(states(model, tokens))
        return torch.log1p(torch.relu(max_logits(found, tokens.attention_mask, weight, bias, lengths=tokens.lengths)))

    def _tokens(self, tokens: Tokens) -> Tensor:
        assert tokens.kept is not None, "the collator says which tokens are special"
        weights = torch.zeros((len(tokens), self.width), device=tokens.input_ids.device)
        return weights.scatter_reduce_(1, tokens.input_ids, tokens.kept.float(), "amax")

    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return all scores: (B, V) × (N, V) → (B, N)."""
        assert isinstance(queries, Tensor), "a sparse student encodes weights of words"
        assert isinstance(documents, Tensor), "a sparse student encodes weights of words"
        return self.scale * dot(queries, documents)
