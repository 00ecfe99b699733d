"""A student as the sequence of modules in which sentence-transformers keeps models.

The folder is described by files alone (``modules.json``, a ``config.json`` a module): sentence-transformers is not
needed to write it. Source: the formats of sentence-transformers 6.2.
"""

import copy
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.students.adapters import merged_weights
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator, Role
from limbeck.text.tokenizer import TextTokenizer

ROUTER = "router_config.json"

_TYPES = {
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
_TASKS = {  # of the module Transformer: what the model returns, and under which name it is passed on
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "fill-mask": ("logits", "token_embeddings"),
}


@dataclass(frozen=True)
class Module:
    """One module: its type, what its ``config.json`` says, and what lies beside that."""

    type: str
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    model: Any = None
    tokenizer: TextTokenizer | None = None
    length: int | None = None
    """Longest text in tokens where no role is given."""

    def write(self, folder: Path) -> None:
        """Write its files."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.model is not None:
            self.model.save_pretrained(folder, state_dict=merged_weights(self.model))
        if self.tokenizer is not None:
            self.tokenizer.tokenizer.save_pretrained(folder)
            self._amend(folder / "tokenizer_config.json")
        if self.weights:
            save_file({name: value.detach().cpu().contiguous() for name, value in self.weights.items()}, folder / _FILE)
        write_json(folder / ("config.json" if self.model is None else _TRANSFORMER), self.config)

    def _amend(self, path: Path) -> None:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        told["model_max_length"] = self.length
        if getattr(getattr(self.model, "config", None), "type_vocab_size", 0) > 1:
            # Students always tell such models which of two texts a token is of; not every tokenizer does.
            told["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        write_json(path, told)


_FILE = "model.safetensors"
_TRANSFORMER = "sentence_bert_config.json"


@dataclass(frozen=True)
class Pipeline:
    """A whole model."""

    library: str
    """The class of sentence-transformers that loads it."""
    modules: Sequence[Module]
    """For documents, and for queries unless they have modules of their own; for pairs."""
    queries: Sequence[Module] | None = None
    """What queries have in place of the first ``own`` modules."""
    own: int = 0
    """How many of the first modules documents do not share with queries, if those have modules of their own."""
    prompts: Mapping[Role, str] = field(default_factory=dict)
    similarity: str | None = None

    @property
    def transformer(self) -> str:
        """Return the subfolder of the documents' transformer."""
        return "" if self.queries is None else "document_0_Transformer"

    def write(self, folder: Path) -> None:
        """Write all files into an existing folder."""
        shared = list(self.modules)
        listed: list[tuple[str, str]] = []
        if self.queries is None:
            shared.pop(0).write(folder)
            listed.append(("", "Transformer"))
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
        told: dict[str, Any] = {
            "model_type": self.library,
            "prompts": dict(self.prompts),
            "default_prompt_name": None,
        }
        if self.library == "CrossEncoder":
            told["activation_fn"] = "torch.nn.modules.linear.Identity"
        else:
            told["similarity_fn_name"] = self.similarity
        write_json(folder / "config_sentence_transformers.json", told)


def pipeline(student: nn.Module, collator: Collator) -> Pipeline:
    """Return the modules that do what a student does.

    Parameters
    ----------
    student
        A :class:`Dense`, :class:`Splade`, :class:`ColBERT` or :class:`CrossEncoder`.
    collator
        Its collator: the tokenizer, and the markers it has.

    Raises
    ------
    ConfigError
        There are no modules for it: another kind of student, or a vocabulary that they cannot hold.
    """
    if isinstance(student, CrossEncoder):
        return _cross_encoder(student, collator)
    if isinstance(student, Dense):
        return _dense(student, collator)
    if isinstance(student, Splade):
        return _splade(student, collator)
    if isinstance(student, ColBERT):
        return _colbert(student, collator)
    raise ConfigError(
        f"student: a {type(student).__name__} has no counterpart in sentence-transformers; "
        "dense, splade, colbert and cross_encoder have"
    )


def _cross_encoder(student: CrossEncoder, collator: Collator) -> Pipeline:
    style, overhead = student.style, len(collator.tokenizer.pair([], [])[0])
    length = style.query_length + style.document_length + overhead
    if student.pooling == "head":
        found = _transformer(student.backbone, "sequence-classification", collator.tokenizer, length)
        return Pipeline("CrossEncoder", [found])
    found = _transformer(student.backbone, "feature-extraction", collator.tokenizer, length)
    width = student.backbone.config.hidden_size
    head = _linear(student.head.weight, student.head.bias, "sentence_embedding", "scores")
    return Pipeline("CrossEncoder", [found, _pooling(width, student.pooling), head])


def _dense(student: Dense, collator: Collator) -> Pipeline:
    width = student.backbone.config.hidden_size
    pooling = _pooling(width, student.pooling)
    document = _tower(student.backbone, "feature-extraction", collator)
    modules = [document, pooling]
    if student.dimension not in (None, width):
        # Keeps the first components: cut before the length is made 1, which sentence-transformers' own cut is not.
        modules.append(_linear(torch.eye(width)[: student.dimension], None, "sentence_embedding"))
    if student.normalise:
        modules.append(Module("Normalize", {"module_input_name": "sentence_embedding"}))
    queries = None
    if student.query_backbone is not None:
        queries = [_tower(student.query_backbone, "feature-extraction", collator), pooling]
    similarity = "cosine" if student.normalise else "dot"
    return Pipeline("SentenceTransformer", modules, queries, 2, _prompts(collator), similarity)


def _splade(student: Splade, collator: Collator) -> Pipeline:
    pooling = Module("SpladePooling", {"pooling_strategy": "max", "activation_function": "relu"})
    document = _tower(student.backbone, "fill-mask", collator)
    queries = None
    if student.query_backbone is not None:
        queries = [_tower(student.query_backbone, "fill-mask", collator), pooling]
    if student.query_encoder == "tokens":
        queries = [_tokens(student, collator)]
    return Pipeline("SparseEncoder", [document, pooling], queries, 2, _prompts(collator), "dot")


def _tokens(student: Splade, collator: Collator) -> Module:
    tokenizer = collator.tokenizer
    if tokenizer.tokenizer.vocab_size != student.width:
        raise ConfigError(
            f"student.query_encoder=tokens: the tokenizer has {tokenizer.tokenizer.vocab_size} tokens, the model "
            f"{student.width}; SparseStaticEmbedding of sentence-transformers needs as many"
        )
    weights = torch.ones(student.width)
    weights[tokenizer.special] = 0.0
    length = student.style.query_length - tokenizer.single_overhead  # no special tokens there
    return Module("SparseStaticEmbedding", {"frozen": True}, {"weight": weights}, tokenizer=tokenizer, length=length)


def _colbert(student: ColBERT, collator: Collator) -> Pipeline:
    style = student.style
    expansion = None
    if style.query_augment:
        expansion = {
            "strategy": "fixed", "length": style.query_length, "attend": style.attend_augmented, "token": None
        }  # fmt: skip
    markers = [token for token in collator.markers.values() if token is not None]
    found = _tower(student.backbone, "feature-extraction", collator, query_expansion=expansion)
    found = replace(found, tokenizer=_with_markers(collator.tokenizer, markers))
    known = collator.tokenizer.number
    skipped = [character for character in string.punctuation if known(character) is not None]
    modules = [
        found,
        _linear(student.projection.weight, None, "token_embeddings"),
        Module("MultiVectorMask", {"skiplist_words": skipped if style.skip_punctuation else []}),
    ]
    if student.normalise:
        modules.append(Module("Normalize", {"module_input_name": "token_embeddings"}))
    return Pipeline("MultiVectorEncoder", modules, prompts=_prompts(collator), similarity="maxsim")


def _tower(model: nn.Module, task: str, collator: Collator, **options: Any) -> Module:
    style = collator.style
    lengths = {"query_length": style.query_length, "document_length": style.document_length}
    return _transformer(model, task, collator.tokenizer, style.document_length, **lengths, **options)


def _transformer(model: nn.Module, task: str, tokenizer: TextTokenizer, length: int, **options: Any) -> Module:
    output, name = _TASKS[task]
    config = {
        "transformer_task": task,
        "modality_config": {"text": {"method": "forward", "method_output_name": output}},
        "module_output_name": name,
    } | {key: value for key, value in options.items() if value is not None}
    return Module("Transformer", config, model=model, tokenizer=tokenizer, length=length)


def _pooling(width: int, mode: str) -> Module:
    return Module("Pooling", {"embedding_dimension": width, "pooling_mode": mode, "include_prompt": True})


def _linear(weight: Tensor, bias: Tensor | None, source: str, target: str | None = None) -> Module:
    config = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
        "activation_function": "torch.nn.modules.linear.Identity",
        "module_input_name": source,
        "module_output_name": target or source,
    }
    weights = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    return Module("Dense", config, weights)


def _prompts(collator: Collator) -> dict[Role, str]:
    style, markers = collator.style, collator.markers
    return {
        "query": (markers["query"] or "") + style.query_prefix,
        "document": (markers["document"] or "") + style.document_prefix,
    }


def _with_markers(tokenizer: TextTokenizer, markers: Sequence[str]) -> TextTokenizer:
    """Return a copy that reads markers in a text as the single tokens they are."""
    if not markers:
        return tokenizer
    made = copy.deepcopy(tokenizer.tokenizer)
    made.add_special_tokens({"additional_special_tokens": list(markers)})
    return TextTokenizer(made)


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
