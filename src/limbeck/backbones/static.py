"""Static backbones: averaged token vectors in place of a transformer."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from limbeck.backbones import hub, tables
from limbeck.backbones.backbone import Task
from limbeck.backbones.bags import StaticModel
from limbeck.backbones.encoded import vocabulary_vectors
from limbeck.backbones.layout import layout
from limbeck.backbones.pretrained import Pretrained
from limbeck.backbones.sources import PACKAGE, RUN_MODEL, locate, quiet
from limbeck.backbones.tiny import LARGEST_VOCABULARY
from limbeck.config import ConfigError
from limbeck.registry import register
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece

log = logging.getLogger(__name__)

_RANDOM_WIDTH = 256

Folder = Callable[..., Path]
"""Function from an artefact's kind, inputs and builder to its cached folder."""


@register("backbone", "static")
class Static:
    """One fixed vector per token; a text's embedding is the mean of its tokens' vectors. Far faster than a transformer.

    Parameters
    ----------
    model
        Source of the initial vectors. Hub name, ``package:NAME/FOLDER`` or folder. A model with token vectors
        (sentence-transformers' StaticEmbedding, model2vec, a run of limbeck) gives its vectors. A transformer encodes
        each token of its vocabulary, as in model2vec. null: random vectors for a WordPiece vocabulary trained on the
        collection.
    revision
        Commit or tag on the hub.
    random
        Use only the tokenizer of ``model``, with random initial vectors.
    width
        Dimension of a vector. For encoded tokens, the number of principal components; null keeps the encodings,
        uncentred. For random vectors, drawn from N(0, 1), null is 256.
    sif
        a > 0 of the weights a / (a + p(token)) of encoded tokens, where p follows Zipf's law by the rank in the
        vocabulary; frequent tokens get low weights. null weights all tokens equally.
    vocab_size
        Maximum size of a trained vocabulary.
    untrained
        Allow search, scoring and teaching with random vectors, to try out a command.

    Raises
    ------
    ValueError
        A value is out of range, or does not apply to the model.
    """

    learning_rate = 1e-2

    def __init__(
        self,
        *,
        model: str | None = None,
        revision: str | None = None,
        random: bool = False,
        width: int | None = None,
        sif: float | None = 1e-4,
        vocab_size: int = 8000,
        untrained: bool = False,
    ) -> None:
        if width is not None and width < 1:
            raise ValueError(f"width must be >= 1 or null, got {width}")
        if sif is not None and not sif > 0:
            raise ValueError(f"sif must be > 0 or null, got {sif}")
        if not 1 <= vocab_size <= LARGEST_VOCABULARY:
            raise ValueError(f"vocab_size must be in 1 … {LARGEST_VOCABULARY}, got {vocab_size}")
        self._table = None if model is None else _table(model, revision)
        self._encoder = None if model is None or self._table else Pretrained(model=model, revision=revision)
        if self._table and width is not None and not random:
            raise ValueError(
                f"width cannot change the vectors in {self._table}: leave it out; student.dimension cuts embeddings"
            )
        self._random = random or model is None
        self._width = width
        self._sif = sif
        self._vocab_size = vocab_size
        self._folder: Folder | None = None
        self.untrained = untrained
        self.path = None if self._random else str(self._table or locate(str(model)))
        self.anew: list[str] = []
        self.labels: list[str] = []

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Folder) -> TextTokenizer:
        """Return the tokenizer of the model, or train one; it adds no special tokens."""
        self._folder = folder
        if self._table:
            return tables.words(self._table)
        if self._encoder:
            return tables.unframed(self._encoder.tokenizer(texts, folder).tokenizer)
        trained = folder(
            "tokenizer",
            {"kind": "wordpiece", "vocab_size": self._vocab_size},
            lambda target: train_wordpiece(texts(), self._vocab_size, target),
        )
        return tables.words(trained)

    def model(self, tokenizer: TextTokenizer, task: Task, *, trains: bool = True) -> Any:
        """Return the static model.

        Raises
        ------
        ConfigError
            The task is not ``encoder``, or the tokenizer has tokens without a vector.
        """
        del trains  # there are no adapters
        if task != "encoder":
            raise ConfigError(
                "model: a static backbone has neither a classifier nor a language model; choose student=dense"
            )
        vectors = self._vectors(tokenizer)
        tables.check_fit(len(vectors), tokenizer, self.path or "the collection")
        return StaticModel(vectors)

    def _vectors(self, tokenizer: TextTokenizer) -> Tensor:
        if self._random:
            size = max(tokenizer.tokenizer.get_vocab().values()) + 1
            return torch.randn(size, self._width or _RANDOM_WIDTH)
        if self._table is None:
            self.path = str(self._encoded(tokenizer))
        return tables.read(Path(str(self.path)))

    def _encoded(self, tokenizer: TextTokenizer) -> Path:
        """Return the cached folder of the vectors that the transformer gives single tokens."""
        assert self._encoder is not None, "without token vectors and random ones, there is a transformer"
        assert self._folder is not None, "the tokenizer is loaded first"
        framed = self._encoder.tokenizer(list, self._folder)
        encoder = self._encoder.model(framed, "encoder", trains=False)
        inputs = {
            "weights": _checksum(encoder.state_dict()),
            "tokenizer": tokenizer.fingerprint,
            "width": self._width,
            "sif": self._sif,
        }

        def fill(target: Path) -> None:
            table = vocabulary_vectors(encoder, framed, width=self._width, sif=self._sif)
            save_file({tables.VECTORS: table.contiguous()}, target / tables.WEIGHTS)
            tokenizer.tokenizer.backend_tokenizer.save(str(target / tables.WORDS))

        return self._folder("vectors", inputs, fill)


def _table(model: str, revision: str | None) -> Path | None:
    """Return the folder of a model's token vectors; None if it is a transformer."""
    if hub.is_name(model):
        found = hub.described(model, revision)
        whole = found is not None and layout(found)
        return _fetched(model, revision) if whole and whole.documents[0].type == tables.MODULE else None
    folder = Path(locate(model) if model.startswith(PACKAGE) else model)
    listed = layout(folder)
    inside = listed.transformer() if listed is not None and listed.documents[0].type == tables.MODULE else None
    return next((place for place in (inside, folder, folder / RUN_MODEL) if place and tables.is_table(place)), None)


def _fetched(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    with quiet():
        return _table(snapshot_download(model, revision=revision, allow_patterns=["*.json", "*.safetensors"]), None)


def _checksum(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
