"""Cross-encoder: reads query and document together."""

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

    With ``mean``, ``cls`` and ``last`` the score is $`w^\top h + b`$, where h is pooled from the last hidden states;
    initially w ~ N(0, 0.02²) and b = 0. With ``head`` it is the logit of transformers' sequence classifier for the
    backbone, as in the cross-encoders on the hub; if the checkpoint has no classifier, it is initialised at random. The
    last product is computed in the precision of its weights, also under autocast, since 16-bit scores often tie. A
    decoder reads a pair as its tokenizer formats it, usually the document right after the query.

    Parameters
    ----------
    load
        Function that returns the transformer.
    pooling
        Pooling of the token states. ``mean`` over the tokens, ``cls`` for the first token, ``last`` for the last token,
        or ``head`` for the checkpoint's classifier (a decoder's reads the last token). ``cls`` may not suit a backbone
        that was trained with mean pooling, whose first token may carry no information.
    labels
        Labels of the classifier of ``head``. ``one`` for a classifier with one label; ``difference`` for one with two
        labels, whose score is logit[1] - logit[0], the log-odds of the second label.
    activation
        Activation of the score. ``identity``: the score is the logit. ``sigmoid``: its sigmoid, in (0, 1).
    segments
        Use segment embeddings for query and document. Has no effect if the backbone has none.
    query_prefix
        Text before each query. Use the template that the checkpoint was trained with.
    query_suffix
        Text after each query. Long queries are cut before it.
    document_prefix
        Text before each document.
    document_suffix
        Text after each document. Long documents are cut before it.
    query_length
        Maximum length of a query in tokens. It includes prefix and suffix, but not special tokens.
    document_length
        Maximum length of a document in tokens. It includes prefix and suffix, but not special tokens. A long document
        never cuts the query.

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
        if is_decoder(self.backbone.config):  # its classifier finds the last token by the id of the padding token
            pad = self.backbone.config.pad_token_id
            given["input_ids"] = tokens.input_ids.masked_fill(tokens.attention_mask == 0, pad)
        return self.backbone(**given).logits

    def forward(self, batch: Batch) -> StudentOutput:
        """Score the candidates of a batch."""
        return StudentOutput(self.score_pairs(batch.documents)[batch.index])


def _exact(layer: nn.Module, given: tuple[Any, ...], logit: Tensor) -> Tensor:
    """Recompute the logit of a backbone's classifier in the precision of its weights (a forward hook)."""
    assert isinstance(layer, nn.Linear), "the last layer of a classifier is linear"
    if logit.dtype == layer.weight.dtype:
        return logit
    with torch.autocast(logit.device.type, enabled=False):
        return F.linear(given[0].to(layer.weight.dtype), layer.weight, layer.bias)
