"""Static token vectors on disk, in the formats of sentence-transformers' StaticEmbedding and of model2vec.

Both are a folder with ``model.safetensors`` and ``tokenizer.json``. sentence-transformers stores one vector per token
as ``embedding.weight``. model2vec stores ``embeddings`` and, if its vocabulary was quantised, ``mapping`` (token → row
of the embeddings) and ``weights`` (token → factor). Only reading vectors imports torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.backbones.settings_file import read_json
from limbeck.config import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from limbeck.text.tokenizer import TextTokenizer

WEIGHTS, WORDS = "model.safetensors", "tokenizer.json"
VECTORS = "embedding.weight"
"""Name of the vectors in sentence-transformers' format, which limbeck writes too."""
_MODEL2VEC = "embeddings"

MODULE = "StaticEmbedding"
"""Module in sentence-transformers."""


def is_table(folder: Path) -> bool:
    """Return whether a folder holds static token vectors and their tokenizer."""
    return (folder / WORDS).is_file() and bool({VECTORS, _MODEL2VEC} & _names(folder / WEIGHTS))


def _names(path: Path) -> set[str]:
    """Return the names of the tensors in a safetensors file; empty if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (OSError, SafetensorError):
        return set()


def options(folder: Path) -> dict[str, Any]:
    """Return the options of the dense student that corresponds to a model2vec folder."""
    length = longest(folder)
    normalised = bool(read_json(folder / "config.json").get("normalize"))
    return {
        "pooling": "mean",
        "similarity": "cosine" if normalised else "dot",
        "query_length": length,
        "document_length": length,
    }


def longest(folder: Path) -> int:
    """Return the maximum length of a text in tokens: the tokenizer's, or else the token store's."""
    from limbeck.text.token_store import MOST

    truncation = read_json(folder / WORDS).get("truncation") or {}
    return int(truncation.get("max_length") or MOST)


def read(folder: Path) -> "Tensor":
    """Return the (V, D) float32 token vectors of a folder.

    Raises
    ------
    ConfigError
        The file is damaged, or its tensors do not fit each other.
    """
    from safetensors.torch import load_file

    from limbeck.backbones.sources import clear_errors

    with clear_errors(str(folder)):
        parts = load_file(folder / WEIGHTS)
        vectors = parts[VECTORS if VECTORS in parts else _MODEL2VEC].float()
        if vectors.ndim != 2:
            raise ValueError(f"its vectors have the shape {tuple(vectors.shape)}, not (tokens, width)")
        if "mapping" in parts:
            vectors = vectors[parts["mapping"].long()]
        if "weights" in parts:
            vectors = vectors * parts["weights"].float().unsqueeze(-1)
        return vectors.contiguous()


def words(folder: Path) -> "TextTokenizer":
    """Return the tokenizer of a folder, without special tokens around a text."""
    from transformers import PreTrainedTokenizerFast

    from limbeck.backbones.sources import clear_errors

    with clear_errors(str(folder)):
        return unframed(PreTrainedTokenizerFast(tokenizer_file=str(folder / WORDS)))


def unframed(tokenizer: "PreTrainedTokenizerFast") -> "TextTokenizer":
    """Return the tokenizer without special tokens around a text; it is changed in place."""
    from limbeck.text.tokenizer import TextTokenizer

    tokenizer.backend_tokenizer.post_processor = None  # pyright: ignore[reportAttributeAccessIssue]
    return TextTokenizer(tokenizer, bare=True)


def check_fit(rows: int, tokenizer: "TextTokenizer", where: str) -> None:
    """Raise ``ConfigError`` if a tokenizer has tokens beyond the number of vectors (``rows``)."""
    largest = max(tokenizer.tokenizer.get_vocab().values())
    if largest >= rows:
        raise ConfigError(
            f"model: the tokenizer of {where} has a token {largest}, but there are {rows} vectors: they do not belong "
            "together"
        )
