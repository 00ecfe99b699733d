"""Cross-encoder: query and document read together."""

from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.backbones.backbone import Load, check_pooling, pool
from limbeck.backbones.decoders import is_decoder
from limbeck.backbones.packing import states
from limbeck.backbones.sub_batches import in_sub_batches, inputs
from limbeck.registry import register
from limbeck.students.base import Student
from limbeck.text.text_format import TextFormat
from limbeck.types import Batch, StudentOutput, Tokens

_POOLINGS = ("mean", "cls", "last", "head")
_LABELS = ("one", "difference")
_ACTIVATIONS = ("identity", "sigmoid")


@register("student", "cross_encoder")
class CrossEncoder(Student):
    r"""Re-ranker: one score for ``[CLS] q [SEP] d [SEP]``.

    With ``mean``, ``cls`` and ``last`` the score is $`w^\top h + b`$, h pooled from the last states; the head
    starts at w ~ N(0, 0.02²), b = 0. With ``head`` it is the logit of the backbone family's own sequence classifier
    with one label, as the cross-encoders on the hub have it; where the checkpoint has none, transformers starts it
    anew. The last product is computed in the precision of its weights whatever autocast says: 16-bit scores tie. A
    decoder reads the pair as its tokenizer writes one, mostly the document right after the query.

    Parameters
    ----------
    load
        Returns the transformer.
    pooling
        ``mean`` over the tokens, ``cls``, the first token, ``last``, the last one, or ``head``, the checkpoint's own
        classifier (a decoder's reads the last token). The first layers of a backbone that was trained with mean
        pooling may have nothing to learn from in their first token.
    labels
        With ``head``: ``one``, a classifier with one label, or ``difference``, one with two that is read as logit[1] -
        logit[0], the log-odds of the second.
    activation
        ``identity``, the score is the logit, or ``sigmoid`` of it, in (0, 1).
    segments
        Say which of the two texts a token is of, where the backbone has embeddings for that.
    query_prefix, query_suffix, document_prefix, document_suffix
        Put before and after each text: the template that a checkpoint was trained with. A long text is cut before its
        suffix.
    query_length, document_length
        Longest query and document in tokens, with prefix and suffix; special tokens come on top. A long document never
        cuts the query.

    Raises
    ------
    ValueError
        An option is out of range.

    References
    ----------
    Nogueira and Cho, Passage Re-ranking with BERT, 2019.
    """

    separable = False
    context = "it reads query and document together"

    def __init__(
        self,
        load: Load,
        *,
        pooling: Literal["mean", "cls", "last", "head"] = "mean",
        labels: Literal["one", "difference"] = "one",
        activation: Literal["identity", "sigmoid"] = "identity",
        segments: bool = True,
        query_prefix: str = "",
        query_suffix: str = "",
        document_prefix: str = "",
        document_suffix: str = "",
        query_length: int = 32,
        document_length: int = 128,
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(_POOLINGS)}, got {pooling!r}")
        if labels not in _LABELS:
            raise ValueError(f"labels must be one of {', '.join(_LABELS)}, got {labels!r}")
        if labels == "difference" and pooling != "head":
            raise ValueError(
                f"labels=difference reads the checkpoint's classifier, so pooling must be head, got {pooling}"
            )
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
        self.style = TextFormat(
            True,
            query_prefix,
            document_prefix,
            query_length,
            document_length,
            query_suffix=query_suffix,
            document_suffix=document_suffix,
        )
        self.pooling: Literal["mean", "cls", "last", "head"] = pooling
        self.segments = segments
        self.activation: Literal["identity", "sigmoid"] = activation
        self.number = "probability" if activation == "sigmoid" else "logit"
        if labels == "difference" and activation == "identity":
            self.number = "logit_difference"
        head = "classifier" if labels == "one" else "difference"
        self.backbone = load(head if pooling == "head" else "encoder")
        check_pooling(self.backbone, pooling)
        if pooling == "head":
            inside = {id(layer) for layer in self.backbone.base_model.modules()}
            for layer in self.backbone.modules():
                if isinstance(layer, nn.Linear) and layer.out_features == 1 and id(layer) not in inside:
                    layer.register_forward_hook(_exact)
        else:
            self.head = nn.Linear(self.backbone.config.hidden_size, 1)
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def score_pairs(self, tokens: Tokens) -> Tensor:
        """Score pairs: (N, T) → (N,)."""
        logits = self._logits(tokens if self.segments else replace(tokens, token_type_ids=None))
        return logits if self.activation == "identity" else logits.sigmoid()

    def _logits(self, tokens: Tokens) -> Tensor:
        if self.pooling == "head":
            return in_sub_batches(self.backbone, tokens, self._of_head).squeeze(-1)
        found = states(self.backbone, tokens)
        with torch.autocast(tokens.input_ids.device.type, enabled=False):
            return self.head(pool(found.to(self.head.weight.dtype), tokens, self.pooling)).squeeze(-1)

    def _of_head(self, tokens: Tokens) -> Tensor:
        given = inputs(self.backbone, tokens)
        if is_decoder(self.backbone.config):  # its classifier finds the last token by the number of the padding token
            pad = self.backbone.config.pad_token_id
            given["input_ids"] = tokens.input_ids.masked_fill(tokens.attention_mask == 0, pad)
        return self.backbone(**given).logits

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        return StudentOutput(self.score_pairs(batch.documents)[batch.index])


def _exact(layer: nn.Module, given: tuple[Any, ...], logit: Tensor) -> Tensor:
    """Make the logit of a classifier inside a backbone again, in the precision of its weights."""
    assert isinstance(layer, nn.Linear), "the last layer of a classifier is linear"
    if logit.dtype == layer.weight.dtype:
        return logit
    with torch.autocast(logit.device.type, enabled=False):
        return F.linear(given[0].to(layer.weight.dtype), layer.weight, layer.bias)
