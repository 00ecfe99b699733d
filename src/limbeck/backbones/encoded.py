"""Vectors of single tokens out of an encoder: where a table of vectors can start from."""

import re

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.backbones.backbone import pool
from limbeck.backbones.packing import states
from limbeck.progress import show
from limbeck.text.tokenizer import TextTokenizer

_TEXTS = 512
"""Tokens of the vocabulary that are encoded at once."""

_UNUSED = re.compile(r"\[unused\d+\]")


@torch.inference_mode()
def vocabulary_vectors(model: nn.Module, tokenizer: TextTokenizer, *, width: int | None, sif: float | None) -> Tensor:
    r"""Encode each token of a vocabulary alone, between the special tokens, and take the mean of its states.

    ```math
    v_t = \frac{a}{a + p(t)} \, P \, (e_t - \bar e), \qquad
    p(t) = \frac{1}{r_t + 1} \Big/ \sum_u \frac{1}{r_u + 1}
    ```

    e_t is what the encoder makes of token t, $`\bar e`$ their mean, P the first ``width`` principal components and
    $`r_t = 1, 2, …`$ the place of t in the vocabulary, where frequent tokens come first (Zipf's law). Special and
    unused tokens start at 0 and count in neither.

    Parameters
    ----------
    model, tokenizer
        A transformer and its tokenizer, special tokens included.
    width
        Components that are kept; None keeps e_t as it is: all of them, around no mean.
    sif
        a > 0; None weighs all tokens alike.

    Returns
    -------
    Tensor
        (V, D), D the width.

    Raises
    ------
    ValueError
        The encoder's vectors have fewer than ``width`` components, or there are fewer tokens.

    References
    ----------
    Arora et al., A Simple but Tough-to-Beat Baseline for Sentence Embeddings, ICLR 2017 (the weights); the whole as
    model2vec does it (Tulkens and van Dongen, 2024).
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
    """Return (V,) bool: which tokens are special, or unused places of a vocabulary."""
    found = torch.zeros(size, dtype=torch.bool)
    found[tokenizer.special] = True
    unused = [number for token, number in tokenizer.tokenizer.get_vocab().items() if _UNUSED.fullmatch(token)]
    found[torch.tensor(unused, dtype=torch.long)] = True
    return found


def _principal(vectors: Tensor, ordinary: Tensor, width: int) -> Tensor:
    """Return the first principal components of the ordinary tokens' vectors, for all tokens."""
    most = min(vectors.shape[1], int(ordinary.sum()))
    if width > most:
        raise ValueError(
            f"width must be <= {most}, the components of the encoder's vectors or the tokens of its vocabulary, got "
            f"{width}"
        )
    centred = (vectors - vectors[ordinary].mean(0)).double()
    _, directions = torch.linalg.eigh(centred[ordinary].T @ centred[ordinary])  # the greatest variance comes last
    return (centred @ directions.flip(1)[:, :width]).float()
