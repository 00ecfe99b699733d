"""Tables of token vectors on disk: the layouts of sentence-transformers' StaticEmbedding and of model2vec.

Both are a folder with ``model.safetensors`` and ``tokenizer.json``. sentence-transformers keeps a vector a token under
``embedding.weight``; model2vec keeps ``embeddings`` and, where its vocabulary was made smaller, ``mapping`` (which of
them a token has) and ``weights`` (its factor). Nothing here needs torch before a table is read.
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
"""Name of the table in the layout of sentence-transformers, which is also ours."""
_MODEL2VEC = "embeddings"

MODULE = "StaticEmbedding"
"""The module of sentence-transformers."""


def is_table(folder: Path) -> bool:
    """Return whether a folder holds token vectors with their tokenizer."""
    return (folder / WORDS).is_file() and bool({VECTORS, _MODEL2VEC} & _names(folder / WEIGHTS))


def _names(path: Path) -> set[str]:
    """Return the names of the tensors in a file of safetensors; nothing if it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (OSError, SafetensorError):
        return set()


def options(folder: Path) -> dict[str, Any]:
    """Return the options of the dense student that a folder of model2vec's comes to."""
    length = longest(folder)
    normalised = bool(read_json(folder / "config.json").get("normalize"))
    return {
        "pooling": "mean",
        "similarity": "cosine" if normalised else "dot",
        "query_length": length,
        "document_length": length,
    }


def longest(folder: Path) -> int:
    """Return how many tokens of a text are read: as its tokenizer says, else as many as are ever kept of one."""
    from limbeck.text.token_store import MOST

    truncation = read_json(folder / WORDS).get("truncation") or {}
    return int(truncation.get("max_length") or MOST)


def read(folder: Path) -> "Tensor":
    """Return the table of a folder, (V, D) in float32.

    Raises
    ------
    ConfigError
        The file is damaged, or its parts do not fit one another.
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
    """Return the tokenizer of a folder, which puts nothing before or after a text."""
    from transformers import PreTrainedTokenizerFast

    from limbeck.backbones.sources import clear_errors

    with clear_errors(str(folder)):
        return unframed(PreTrainedTokenizerFast(tokenizer_file=str(folder / WORDS)))


def unframed(tokenizer: "PreTrainedTokenizerFast") -> "TextTokenizer":
    """Return a tokenizer that puts nothing before or after a text; it is changed in place."""
    from limbeck.text.tokenizer import TextTokenizer

    tokenizer.backend_tokenizer.post_processor = None  # pyright: ignore[reportAttributeAccessIssue]
    return TextTokenizer(tokenizer, bare=True)


def check_fit(rows: int, tokenizer: "TextTokenizer", where: str) -> None:
    """Raise a ``ConfigError`` if a tokenizer knows tokens that a table of so many rows lacks."""
    largest = max(tokenizer.tokenizer.get_vocab().values())
    if largest >= rows:
        raise ConfigError(
            f"model: the tokenizer of {where} has a token {largest}, the table {rows} vectors: they do not belong "
            "together"
        )
