"""Writes model folders of sentence-transformers: ``modules.json`` and a ``config.json`` per module.

sentence-transformers is not needed to write them. Source: the formats of sentence-transformers 6.2.
``backbones/layout.py`` reads these folders.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from limbeck.artefacts import write_json
from limbeck.backbones.adapters import merged_weights
from limbeck.backbones.tables import MODULE, WORDS
from limbeck.text.collate import Role
from limbeck.text.tokenizer import TextTokenizer

ROUTER = "router_config.json"

_TYPES = {
    "StaticEmbedding": "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Router": "sentence_transformers.base.modules.router.Router",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
    "SparseStaticEmbedding": (
        "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
    ),
    "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask",
}


def _pooler(model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return zeros for the pooler that limbeck has removed from a transformer.

    Nothing reads the pooler, but without weights transformers would initialise it at random and warn about it.
    """
    if getattr(model, "pooler", model) is not None:
        return {}
    with torch.device("meta"):
        whole = type(model)(model.config).state_dict()
    return {
        name: torch.zeros(each.shape, dtype=model.dtype)
        for name, each in whole.items()
        if name.startswith("pooler.") and name not in state
    }


@dataclass(frozen=True)
class Module:
    """One module: its type, the content of its ``config.json``, and its other files."""

    type: str
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    model: Any = None
    tokenizer: TextTokenizer | None = None
    length: int | None = None
    """Maximum length of a text in tokens, if the role is not given."""
    segments: bool = True
    """Whether the model receives segment numbers (``token_type_ids``)."""

    def write(self, folder: Path) -> None:
        """Write the module's files."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.model is not None:
            state = merged_weights(self.model)
            self.model.save_pretrained(folder, state_dict=state | _pooler(self.model, state))
        if self.tokenizer is not None:
            self.tokenizer.save(folder)
            self._amend(folder / "tokenizer_config.json")
        if self.type == MODULE:
            self._cut_texts(folder / WORDS)
        if self.weights:
            save_file({name: value.detach().cpu().contiguous() for name, value in self.weights.items()}, folder / _FILE)
        write_json(folder / ("config.json" if self.model is None else _TRANSFORMER), self.config)

    def _amend(self, path: Path) -> None:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        settings["model_max_length"] = self.length
        if not self.segments:
            settings["model_input_names"] = ["input_ids", "attention_mask"]
        elif getattr(getattr(self.model, "config", None), "type_vocab_size", 0) > 1:
            # Students always pass segment numbers to such models; not every tokenizer returns them.
            settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        write_json(path, settings)

    def _cut_texts(self, path: Path) -> None:
        """Store the maximum length in the tokenizer, as static models have no setting for it."""
        words: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        left = self.tokenizer is not None and self.tokenizer.cuts_left
        words["truncation"] = {
            "direction": "Left" if left else "Right",
            "max_length": self.length,
            "strategy": "LongestFirst",
            "stride": 0,
        }
        write_json(path, words)


_FILE = "model.safetensors"
_TRANSFORMER = "sentence_bert_config.json"


@dataclass(frozen=True)
class Pipeline:
    """The modules of a whole model."""

    library: str
    """Class of sentence-transformers that loads the model."""
    modules: Sequence[Module]
    """Modules for documents (or pairs), and for queries except as given by ``queries``."""
    queries: Sequence[Module] | None = None
    """Modules of queries that replace the first ``own`` modules; None if queries share all modules."""
    own: int = 0
    """Number of the first modules that only documents have, if ``queries`` is given."""
    prompts: Mapping[Role, str] = field(default_factory=dict)
    similarity: str | None = None
    activation: str | None = None
    """Class of the activation of a cross-encoder's scores."""

    @property
    def transformer(self) -> str:
        """Subfolder of the documents' transformer or static embeddings."""
        first = self.modules[0].type
        own = "" if first == "Transformer" else f"0_{first}"
        return own if self.queries is None else f"document_0_{first}"

    def write(self, folder: Path) -> None:
        """Write all files of the model into an existing folder."""
        shared = list(self.modules)
        listed: list[tuple[str, str]] = []
        if self.queries is None:
            first = shared.pop(0)
            first.write(folder / self.transformer)
            listed.append((self.transformer, first.type))
        else:
            _write_router({"query": self.queries, "document": shared[: self.own]}, folder)
            shared = shared[self.own :]
            listed.append(("", "Router"))
        for number, module in enumerate(shared, 1):
            listed.append((f"{number}_{module.type}", module.type))
            module.write(folder / listed[-1][0])
        write_json(
            folder / "modules.json",
            [
                {"idx": number, "name": str(number), "path": path, "type": _TYPES[kind]}
                for number, (path, kind) in enumerate(listed)
            ],
        )
        settings: dict[str, Any] = {
            "model_type": self.library,
            "prompts": dict(self.prompts),
            "default_prompt_name": None,
        }
        if self.library == "CrossEncoder":
            settings["activation_fn"] = self.activation
        else:
            settings["similarity_fn_name"] = self.similarity
        write_json(folder / "config_sentence_transformers.json", settings)


def _write_router(routes: Mapping[str, Sequence[Module]], folder: Path) -> None:
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for role, modules in routes.items():
        structure[role] = []
        for number, module in enumerate(modules):
            name = f"{role}_{number}_{module.type}"
            module.write(folder / name)
            types[name] = _TYPES[module.type]
            structure[role].append(name)
    parameters = {"default_route": "document", "allow_empty_key": True}
    write_json(folder / ROUTER, {"types": types, "structure": structure, "parameters": parameters})
