"""ColBERT: one vector per token, scored by late interaction."""

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.backbones.backbone import Load
from limbeck.backbones.packing import states
from limbeck.encodings import Kind
from limbeck.registry import register
from limbeck.similarity import maxsim
from limbeck.students.base import BiEncoder
from limbeck.text.collate import Role
from limbeck.text.text_format import TextFormat
from limbeck.types import Encoding, Tokens, Vectors


@register("student", "colbert")
class ColBERT(BiEncoder):
    r"""Multi-vector bi-encoder, $`s(q, d) = \mathrm{scale} \cdot \sum_i \max_j \langle q_i, d_j \rangle`$.

    A token's vector is a linear projection (no bias, initial weights ~ N(0, 0.02²)) of its last hidden state. Special
    tokens and markers have vectors too.

    Parameters
    ----------
    load
        Function that returns the transformer, shared by queries and documents.
    dimension
        Dimension of a token's vector.
    normalise
        Whether to normalise vectors to length 1.
    scale
        Factor of the score. For a query of n normalised vectors, the sum lies in [-n, n].
    query_marker, document_marker, query_augment, attend_augmented, skip_punctuation, skip_words
        As in ``limbeck.text.text_format.TextFormat``.
    query_prefix, document_prefix, query_length, document_length
        As in ``limbeck.text.text_format.TextFormat``.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Khattab and Zaharia, ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT,
    SIGIR 2020.
    """

    kind: Kind = "multi"
    context = "it compares the vectors of single tokens"

    def __init__(
        self,
        load: Load,
        *,
        dimension: int = 128,
        normalise: bool = True,
        scale: float = 1.0,
        query_marker: str = "auto",
        document_marker: str = "auto",
        query_augment: bool = True,
        attend_augmented: bool = False,
        skip_punctuation: bool = True,
        skip_words: list[str] = [],  # noqa: B006 - read as schema, never changed
        query_prefix: str = "",
        document_prefix: str = "",
        query_length: int = 32,
        document_length: int = 128,
    ) -> None:
        super().__init__()
        if dimension < 1:
            raise ValueError(f"dimension must be >= 1, got {dimension}")
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.style = TextFormat(
            False,
            query_prefix,
            document_prefix,
            query_length,
            document_length,
            query_marker,
            document_marker,
            query_augment,
            attend_augmented,
            skip_punctuation,
            skip_words=tuple(skip_words),
        )
        self.backbone = load("encoder")
        self.projection = nn.Linear(self.backbone.config.hidden_size, dimension, bias=False)
        nn.init.normal_(self.projection.weight, std=0.02)
        self.normalise = normalise
        self._scale = scale

    def encode(self, tokens: Tokens, role: Role) -> Vectors:
        """Encode texts: (N, T) → (N, T, D)."""
        del role  # ``tokens.kept`` says which tokens have a vector
        projected = self.projection(states(self.backbone, tokens))
        values = F.normalize(projected.float(), dim=-1) if self.normalise else projected
        mask = tokens.attention_mask.bool() if tokens.kept is None else tokens.kept
        return Vectors(values.masked_fill(~mask.unsqueeze(-1), 0.0), mask)

    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return all scores: (B, T, D) × (N, T', D) → (B, N)."""
        assert isinstance(queries, Vectors), "ColBERT encodes several vectors a text"
        assert isinstance(documents, Vectors), "ColBERT encodes several vectors a text"
        return self.scale * maxsim(queries, documents)
