"""Static models (the mean of fixed token vectors), and one embedding per text from them or from a transformer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limbeck.backbones import backbone
from limbeck.backbones.backbone import Pooling, pool
from limbeck.backbones.packing import states
from limbeck.backbones.tables import VECTORS, WEIGHTS
from limbeck.types import Tokens, moved


@dataclass(frozen=True)
class Sizes:
    """Sizes of a static model, under transformers' names."""

    vocab_size: int
    hidden_size: int


class StaticModel(nn.Module):
    r"""Mean of context-free token vectors: $`E(t) = \frac{1}{n} \sum_{i=1}^{n} v_{t_i}`$.

    Parameters
    ----------
    vectors
        (V, D) initial token vectors, one row per vocabulary entry; trainable.
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag.from_pretrained(vectors, freeze=False, mode="mean")
        self.config = Sizes(*vectors.shape)

    def forward(self, tokens: Tokens) -> Tensor:
        """Return the mean vector of each text, (N, T) → (N, D); 0 for a text without tokens."""
        if tokens.lengths is None:
            real = tokens.attention_mask
            counts = real.sum(1)
            return self.embedding(tokens.input_ids[real.bool()], counts.cumsum(0) - counts)
        # The same from the known lengths, without synchronising with the device.
        lengths, (rows, width) = np.asarray(tokens.lengths, dtype=np.int64), tokens.input_ids.shape
        starts = lengths.cumsum() - lengths
        places = np.repeat(np.arange(rows) * width - starts, lengths) + np.arange(lengths.sum())
        device = tokens.input_ids.device
        chosen = tokens.input_ids.flatten()[moved(torch.from_numpy(places), device)]
        return self.embedding(chosen, moved(torch.from_numpy(starts), device))

    def save_pretrained(self, folder: Path, state_dict: dict[str, Tensor]) -> None:
        """Save the token vectors in sentence-transformers' format."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({VECTORS: state_dict[VECTORS].detach().cpu().contiguous()}, folder / WEIGHTS)


def embed(model: nn.Module, tokens: Tokens, pooling: Pooling) -> Tensor:
    """Return one embedding per text, (N, T) → (N, D)."""
    if isinstance(model, StaticModel):
        return model(tokens)
    return pool(states(model, tokens), tokens, pooling)


def check_pooling(model: Any, pooling: Pooling) -> None:
    """Raise ``ValueError`` for a pooling that a model does not support."""
    if not isinstance(model, StaticModel):
        backbone.check_pooling(model, pooling)
    elif pooling != "mean":
        raise ValueError(
            f"pooling must be mean for a static backbone, whose token vectors have no context; got {pooling}"
        )
