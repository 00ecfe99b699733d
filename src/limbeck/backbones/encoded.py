"""Static token vectors from an encoder, as initial vectors of a static model."""

import re

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.backbones.backbone import pool
from limbeck.backbones.packing import states
from limbeck.progress import show
from limbeck.text.tokenizer import TextTokenizer

_TEXTS = 512
"""Batch size, in vocabulary tokens."""

_UNUSED = re.compile(r"\[unused\d+\]")


@torch.inference_mode()
def vocabulary_vectors(model: nn.Module, tokenizer: TextTokenizer, *, width: int | None, sif: float | None) -> Tensor:
    r"""Encode each vocabulary token as a text of its own, with special tokens, by the mean of its states.

    ```math
    v_t = \frac{a}{a + p(t)} \, P \, (e_t - \bar e), \qquad
    p(t) = \frac{1}{r_t + 1} \Big/ \sum_u \frac{1}{r_u + 1}
    ```

    e_t is the encoding of token t, $`\bar e`$ the mean encoding, P projects onto the first ``width`` principal
    components, and $`r_t = 1, 2, …`$ is the rank of t in the vocabulary, in which frequent tokens come first (Zipf's
    law). Special and unused tokens have vectors of 0, and count neither in $`\bar e`$ nor in p.

    Parameters
    ----------
    model
        A transformer.
    tokenizer
        Its tokenizer, which adds special tokens.
    width
        Number of principal components; None leaves out projection and centring.
    sif
        a > 0; None weights all tokens equally.

    Returns
    -------
    Tensor
        (V, D), with D = ``width`` if given.

    Raises
    ------
    ValueError
        The encoder's vectors have fewer than ``width`` components, or there are fewer tokens.

    References
    ----------
    Arora et al., A Simple but Tough-to-Beat Baseline for Sentence Embeddings, ICLR 2017 (the weights); Tulkens and van
    Dongen, model2vec, 2024 (the whole method).
    """
    model.eval()
    size = max(tokenizer.tokenizer.get_vocab().values()) + 1
    rows = tokenizer.framed([np.array([token], dtype=tokenizer.dtype) for token in range(size)])
    parts = []
    for texts in show(
        [rows[start : start + _TEXTS] for start in range(0, size, _TEXTS)], size, "encoding the vocabulary", "tokens"
    ):
        tokens = tokenizer.pad(texts)
        parts.append(pool(states(model, tokens), tokens, "mean").float())
    vectors = torch.cat(parts)
    ordinary = ~_special(tokenizer, size)
    if width is not None:
        vectors = _principal(vectors, ordinary, width)
    if sif is not None:
        chance = 1 / (ordinary.cumsum(0) + 1.0)
        chance = chance / chance[ordinary].sum()
        vectors = vectors * (sif / (sif + chance)).unsqueeze(-1)
    return vectors.masked_fill(~ordinary.unsqueeze(-1), 0.0)


def _special(tokenizer: TextTokenizer, size: int) -> Tensor:
    """Return (V,) bool, True for special and unused tokens."""
    found = torch.zeros(size, dtype=torch.bool)
    found[tokenizer.special] = True
    unused = [number for token, number in tokenizer.tokenizer.get_vocab().items() if _UNUSED.fullmatch(token)]
    found[torch.tensor(unused, dtype=torch.long)] = True
    return found


def _principal(vectors: Tensor, ordinary: Tensor, width: int) -> Tensor:
    """Project all tokens' vectors onto the first principal components of the ordinary tokens."""
    most = min(vectors.shape[1], int(ordinary.sum()))
    if width > most:
        raise ValueError(
            f"width must be <= {most}, the components of the encoder's vectors or the tokens of its vocabulary, got "
            f"{width}"
        )
    centred = (vectors - vectors[ordinary].mean(0)).double()
    _, directions = torch.linalg.eigh(centred[ordinary].T @ centred[ordinary])  # in ascending order of variance
    return (centred @ directions.flip(1)[:, :width]).float()
