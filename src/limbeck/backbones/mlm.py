"""Masked-language-model heads, split in two: hidden states → transformed states → vocabulary logits."""

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
"""Bias of a new head's dense layer, so large that gelu(x + SHIFT) = x + SHIFT for the states x that occur."""


COSINE = 0.35
"""Cosine of a state and a token's embedding above which a new head gives the token a positive logit. On nfcorpus, with
the first layers of MiniLM, 0.25 to 0.40 rank equally well, with 600 to 80 active terms per document."""


@dataclass(frozen=True)
class _Layout:
    """Attribute paths of the parts of a family's head."""

    dense: str
    activation: str | None  # None: the function gelu
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
    _Layout(  # DeBERTa with legacy=False: the decoder is tied to the embeddings
        "lm_predictions.lm_head.dense",
        "lm_predictions.lm_head.transform_act_fn",
        "lm_predictions.lm_head.LayerNorm",
        "deberta.embeddings.word_embeddings.weight",
        "lm_predictions.lm_head.bias",
    ),
)


def mlm_parts(model: nn.Module) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor | None]:
    r"""Split the head of a masked language model, so that its last product can be computed in pieces.

    ```math
    \mathrm{logits} = t(h) E^\top + b, \quad t(h) = \mathrm{LayerNorm}(\mathrm{act}(W h + c))
    ```

    Parameters
    ----------
    model
        A masked language model of the families of BERT, RoBERTa (XLM-R, CamemBERT, MPNet), DistilBERT, ELECTRA,
        ModernBERT, DeBERTa or ALBERT. h is the ``last_hidden_state`` of its ``base_model``.

    Returns
    -------
    transform
        t: (…, H) → (…, D), always in float32, also under autocast.
    weight
        E: (V, D), the parameter itself.
    bias
        b: (V,), the parameter itself, or None.

    Raises
    ------
    ConfigError
        The head is not supported; the message names the class.
    """
    found = _layout(model)
    dense, norm = _get(model, found.dense), _get(model, found.norm)
    activation = F.gelu if found.activation is None else _get(model, found.activation)

    def transform(states: Tensor) -> Tensor:
        # Near SHIFT, bfloat16 has a resolution of 1/16, too coarse for a new head's states.
        with torch.autocast(states.device.type, enabled=False):
            return norm(activation(dense(states.float())))

    return transform, _get(model, found.weight), _get(model, found.bias)


def start_near_identity(model: nn.Module) -> bool:
    r"""Initialise a head that the checkpoint lacks, so that its logits are $`\mathrm{LayerNorm}(h) E^\top + b`$.

    With W = I and c = SHIFT, gelu(h + c) is h + c, and the LayerNorm (weight 1, bias 0) removes the constant c.
    The bias $`b_v = -\mathrm{COSINE} \sqrt{H} \, \lVert e_v \rVert`$ makes a logit positive if the cosine of the state
    and the token's embedding exceeds COSINE. Without it every term would be active, as states lie in a narrow cone.

    Parameters
    ----------
    model
        A masked language model; its head is changed in place.

    Returns
    -------
    bool
        False if nothing was done, because W is not square (ELECTRA with narrow embeddings) or has no bias.
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
    """Return the names of the head's parameters, without the decoder."""
    found = _layout(model)
    return [name for name, _ in model.named_parameters() if name.startswith((f"{found.dense}.", f"{found.norm}."))]


def check(model: "PreTrainedModel") -> None:
    """Raise ``ConfigError`` if ``mlm_parts`` does not support the model; the message names the class."""
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
        f"model: the masked-language-model head of {type(model).__name__} is not supported; choose a model of the "
        "family of BERT, RoBERTa, MPNet, DistilBERT, ELECTRA, ModernBERT, DeBERTa or ALBERT"
    )


def _get(model: nn.Module, path: str):
    return operator.attrgetter(path)(model)
