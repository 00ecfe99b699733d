"""SPLADE: sparse term weights over the vocabulary."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

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

QueryEncoder = Literal["shared", "separate", "tokens", "table"]
Activation = Literal["relu", "log1p_relu"]

_TABLE_RATE = 50.0
"""Relative learning rate of the query token weights, whose values are about 1."""


@register("student", "splade")
class Splade(BiEncoder):
    r"""Sparse bi-encoder, $`s(q, d) = \mathrm{scale} \cdot \sum_v w_v(q)\, w_v(d)`$.

    ```math
    w_v = \ln\left(1 + \max(0, \max_t \mathrm{logit}_{tv})\right)
    ```

    over the tokens t of a text, including special tokens, without padding; the logits are those of the backbone's
    masked language model. Sparsity is learned: add ``flops`` or ``l1`` to the losses.

    With ``query_encoder=table`` (inference-free), a query's weights come from a table r with one number per token of
    the vocabulary,

    ```math
    w_v(q) = \max(0, r_v) \cdot [v \in q]
    ```

    Parameters
    ----------
    load
        Function that returns the masked language model.
    query_encoder
        How queries are encoded. ``shared``: by the documents' model. ``separate``: by their own model. ``tokens``:
        without a model; each distinct token has weight 1, special tokens weight 0. ``table``: without a model; each
        distinct token has its weight in a table, special tokens except the unknown token weight 0.
    query_table
        JSON file with the table's initial weights. Its format is ``{"word": weight, …}``, as in OpenSearch's
        ``idf.json``; words that are not in the file have weight 0. null: all words have weight 1. A saved student has
        its own table.
    learn_query_table
        Train the table. Its learning rate is 50 times that of the other weights.
    activation
        Activation of the logits. ``relu`` is the formula above; ``log1p_relu`` applies the logarithm twice,
        $`w_v = \ln(1 + \ln(1 + \max(0, \cdot)))`$.
    scale
        Factor of the score. Lower it if the initial logits are large: if scores differ by dozens, a listwise loss has
        a gradient for one document only.
    query_prefix, document_prefix, query_length, document_length
        As in ``limbeck.text.text_format.TextFormat``.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Formal et al., SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval, 2021 (max pooling and
    SPLADE-doc); From Distillation to Hard Negative Sampling, SIGIR 2022. Geng et al., Towards Competitive Search
    Relevance For Inference-Free Learned Sparse Retrievers, arXiv 2411.04403 (a table of IDF); Shen et al., Exploring
    ℓ0 Sparsification for Inference-free Sparse Retrievers, arXiv 2504.14839 (``log1p_relu``).
    """

    kind: Kind = "sparse"
    context = "it takes term weights from a masked language model"
    number: Number = "dot_product"
    fields: frozenset[str] = frozenset({"embeddings", "term_weights"})

    def __init__(
        self,
        load: Load,
        *,
        query_encoder: Literal["shared", "separate", "tokens", "table"] = "shared",
        query_table: str | None = None,
        learn_query_table: bool = False,
        activation: Literal["relu", "log1p_relu"] = "relu",
        scale: float = 1.0,
        query_prefix: str = "",
        document_prefix: str = "",
        query_length: int = 32,
        document_length: int = 128,
    ) -> None:
        super().__init__()
        if query_encoder not in get_args(QueryEncoder):
            raise ValueError(f"query_encoder must be one of {', '.join(get_args(QueryEncoder))}, got {query_encoder!r}")
        if activation not in get_args(Activation):
            raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}, got {activation!r}")
        if query_encoder != "table" and (query_table is not None or learn_query_table):
            raise ValueError("query_table and learn_query_table belong to query_encoder=table; leave them out")
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.reads_queries = query_encoder in ("shared", "separate")
        self.style = TextFormat(
            False, query_prefix, document_prefix, query_length, document_length,
            skip_special=not self.reads_queries, keep_unknown=query_encoder == "table",
        )  # fmt: skip
        self.backbone = load("mlm")
        self.query_encoder: QueryEncoder = query_encoder
        self.activation: Activation = activation
        self.table_file = query_table
        self.query_table: nn.Parameter | None = None
        if query_encoder == "table":  # initialised by limbeck.students.query_table, which needs the tokenizer
            table = nn.Parameter(torch.ones(self.width), requires_grad=learn_query_table)
            table.rate = _TABLE_RATE  # pyright: ignore[reportAttributeAccessIssue] - read by the optimiser
            self.query_table = table
        self.query_backbone = second_tower(self.backbone, "separate" if query_encoder == "separate" else "shared")
        self._scale = scale

    @property
    def width(self) -> int:
        """Size of the vocabulary."""
        return int(self.backbone.config.vocab_size)

    def encode(self, tokens: Tokens, role: Role) -> Tensor:
        """Encode texts as term weights: (N, T) → (N, V), in float32 or better."""
        if role == "query" and not self.reads_queries:
            found = self._tokens(tokens)
            return found if self.query_table is None else found * torch.relu(self.query_table)
        model = tower(self.backbone, self.query_backbone, role)
        transform, weight, bias = mlm_parts(model)
        found = transform(states(model, tokens))
        logits = max_logits(found, tokens.attention_mask, weight, bias, lengths=tokens.lengths)
        weights = torch.log1p(torch.relu(logits))
        return torch.log1p(weights) if self.activation == "log1p_relu" else weights

    def _tokens(self, tokens: Tokens) -> Tensor:
        assert tokens.kept is not None, "the collator marks special tokens"
        weights = torch.zeros((len(tokens), self.width), device=tokens.input_ids.device)
        return weights.scatter_reduce_(1, tokens.input_ids, tokens.kept.float(), "amax")

    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return all scores: (B, V) × (N, V) → (B, N)."""
        assert isinstance(queries, Tensor), "a sparse student encodes weights of words"
        assert isinstance(documents, Tensor), "a sparse student encodes weights of words"
        return self.scale * dot(queries, documents)
