"""Heads of masked language models, taken apart: states → transformed states → logits of the vocabulary."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHIFT = 10.0
"""Bias of a fresh head's dense layer: gelu(x + SHIFT) is x + SHIFT for all states that occur."""


COSINE = 0.35
"""Of a state and a word's embedding: above it, a fresh head finds the word in the text. On nfcorpus, 0.25 to 0.40 rank
alike with the first layers of MiniLM, and 600 to 80 words of a document are active."""


@dataclass(frozen=True)
class _Layout:
    """Where a family keeps the parts of its head, as paths from the model."""

    dense: str
    activation: str | None  # None: gelu, called as a function
    norm: str
    weight: str
    bias: str


_LAYOUTS = (
    _Layout(  # BERT, MobileBERT-like copies of it, DeBERTa
        "cls.predictions.transform.dense",
        "cls.predictions.transform.transform_act_fn",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    ),
    _Layout(  # RoBERTa, XLM-R, CamemBERT, MPNet
        "lm_head.dense", None, "lm_head.layer_norm", "lm_head.decoder.weight", "lm_head.decoder.bias"
    ),
    _Layout(  # DistilBERT
        "vocab_transform", "activation", "vocab_layer_norm", "vocab_projector.weight", "vocab_projector.bias"
    ),
    _Layout(  # ELECTRA
        "generator_predictions.dense",
        "generator_predictions.activation",
        "generator_predictions.LayerNorm",
        "generator_lm_head.weight",
        "generator_lm_head.bias",
    ),
    _Layout("head.dense", "head.act", "head.norm", "decoder.weight", "decoder.bias"),  # ModernBERT
    _Layout(  # ALBERT
        "predictions.dense",
        "predictions.activation",
        "predictions.LayerNorm",
        "predictions.decoder.weight",
        "predictions.decoder.bias",
    ),
    _Layout(  # DeBERTa with legacy=False: the decoder is the table of the embeddings
        "lm_predictions.lm_head.dense",
        "lm_predictions.lm_head.transform_act_fn",
        "lm_predictions.lm_head.LayerNorm",
        "deberta.embeddings.word_embeddings.weight",
        "lm_predictions.lm_head.bias",
    ),
)


def mlm_parts(model: nn.Module) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor | None]:
    r"""Take the head of a masked language model apart, so that its last product can be computed in pieces.

    ```math
    \mathrm{logits} = t(h) E^\top + b, \quad t(h) = \mathrm{LayerNorm}(\mathrm{act}(W h + c))
    ```

    Parameters
    ----------
    model
        A masked language model of the families of BERT, RoBERTa (XLM-R, CamemBERT, MPNet), DistilBERT, ELECTRA,
        ModernBERT, DeBERTa or ALBERT. Its ``base_model`` gives the states h as ``last_hidden_state``.

    Returns
    -------
    transform
        t: (…, H) → (…, D), always in float32, autocast or not.
    weight
        E: (V, D), the parameter itself.
    bias
        b: (V,), the parameter itself, or None.

    Raises
    ------
    ConfigError
        The head is of a family that is not known; the message names the class.
    """
    found = _layout(model)
    dense, norm = _get(model, found.dense), _get(model, found.norm)
    activation = F.gelu if found.activation is None else _get(model, found.activation)

    def transform(states: Tensor) -> Tensor:
        # bfloat16 has steps of 1/16 near SHIFT: it would round a fresh head's states away.
        with torch.autocast(states.device.type, enabled=False):
            return norm(activation(dense(states.float())))

    return transform, _get(model, found.weight), _get(model, found.bias)


def start_near_identity(model: nn.Module) -> bool:
    r"""Set a head that a checkpoint has not so that its logits are $`\mathrm{LayerNorm}(h) E^\top + b`$.

    With W = I and c = SHIFT, gelu(h + c) is h + c; the LayerNorm, with weight 1 and bias 0, takes the constant away.
    The bias $`b_v = -\mathrm{COSINE} \sqrt{H} \, \lVert e_v \rVert`$ makes a logit positive where the cosine of the
    state and the word's embedding is above COSINE: states lie in a cone, and without it every word would be active.

    Parameters
    ----------
    model
        A masked language model; its head is changed in place.

    Returns
    -------
    bool
        False where nothing was done, since W is not square (ELECTRA with narrow embeddings) or has no bias.
    """
    found = _layout(model)
    dense, norm, bias = _get(model, found.dense), _get(model, found.norm), _get(model, found.bias)
    if dense.weight.shape[0] != dense.weight.shape[1] or dense.bias is None:
        return False
    with torch.no_grad():
        nn.init.eye_(dense.weight)
        dense.bias.fill_(SHIFT)
        norm.reset_parameters()
        if bias is not None:
            table = _get(model, found.weight)
            bias.copy_(-COSINE * table.shape[1] ** 0.5 * table.norm(dim=1))
    return True


def head_names(model: nn.Module) -> list[str]:
    """Return the names of the head's parameters that are not the table of the vocabulary."""
    found = _layout(model)
    return [name for name, _ in model.named_parameters() if name.startswith((f"{found.dense}.", f"{found.norm}."))]


def check(model: "PreTrainedModel") -> None:
    """Raise a ConfigError that names the class if ``mlm_parts`` cannot take the model apart."""
    _layout(model)


def _layout(model: nn.Module) -> _Layout:
    for layout in _LAYOUTS:
        try:
            parts = [_get(model, path) for path in (layout.dense, layout.norm)]
            known = {id(parameter) for part in parts for parameter in part.parameters()}
            known |= {id(_get(model, layout.weight)), id(_get(model, layout.bias))}
        except AttributeError:
            continue
        inside = {id(parameter) for parameter in model.base_model.parameters()}  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        if all(id(parameter) in known | inside for parameter in model.parameters()):
            return layout
    raise ConfigError(
        f"model: the head of {type(model).__name__} cannot be taken apart; take a masked language model of the family "
        "of BERT, RoBERTa, MPNet, DistilBERT, ELECTRA, ModernBERT, DeBERTa or ALBERT"
    )


def _get(model: nn.Module, path: str):
    return operator.attrgetter(path)(model)
