"""Cross-encoder: query and document read together."""

from torch import Tensor, nn

from limbeck.registry import register
from limbeck.students.backbone import Load, inputs
from limbeck.text.collate import TextFormat
from limbeck.types import Batch, StudentOutput, Tokens


@register("student", "cross_encoder")
class CrossEncoder(nn.Module):
    """Re-ranker: the logit of a sequence classifier with one label over ``[CLS] q [SEP] d [SEP]``.

    The head is the backbone family's own in transformers. Where the checkpoint has none, its last layer starts at
    N(0, 0.02²) with bias 0.

    Parameters
    ----------
    load
        Returns the transformer.
    query_length, document_length
        Longest query and document in tokens; special tokens come on top. A long document never cuts the query.

    Raises
    ------
    ValueError
        A length is out of range.

    References
    ----------
    Nogueira and Cho, Passage Re-ranking with BERT, 2019.
    """

    separable = False

    def __init__(self, load: Load, *, query_length: int = 32, document_length: int = 128) -> None:
        super().__init__()
        self.style = TextFormat(True, "", "", query_length, document_length)
        self.backbone = load("classifier")

    def score_pairs(self, tokens: Tokens) -> Tensor:
        """Score pairs: (N, T) → (N,)."""
        return self.backbone(**inputs(self.backbone, tokens)).logits.squeeze(-1)

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        return StudentOutput(self.score_pairs(batch.documents)[batch.index])
