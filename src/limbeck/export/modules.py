"""Converts students to sequences of sentence-transformers modules."""

import copy
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.backbones.adapters import merged_weights
from limbeck.backbones.bags import StaticModel
from limbeck.backbones.known import ACTIVATIONS, POOLINGS, TASKS
from limbeck.backbones.tables import MODULE
from limbeck.config import ConfigError
from limbeck.export.layout import Module, Pipeline
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.query_table import ones
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator, Role
from limbeck.text.tokenizer import TextTokenizer


def pipeline(student: nn.Module, collator: Collator) -> Pipeline:
    """Return the modules that compute the same scores as a student.

    Parameters
    ----------
    student
        A ``Dense``, ``Splade``, ``ColBERT`` or ``CrossEncoder``.
    collator
        Its collator, for tokenizer, markers and lengths.

    Raises
    ------
    ConfigError
        sentence-transformers has no modules for this kind of student, its options or its vocabulary.
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
    style = student.style
    if style.query_prefix + style.query_suffix + style.document_prefix + style.document_suffix:
        raise ConfigError(
            "student: this cross-encoder adds prefixes or suffixes to its texts, which sentence-transformers' "
            "CrossEncoder does not support"
        )
    length = style.query_length + style.document_length + collator.tokenizer.pair_overhead
    if student.pooling == "head":
        found = _transformer(student.backbone, "sequence-classification", collator.tokenizer, length)
        found = replace(found, segments=student.segments)
        return Pipeline("CrossEncoder", [found], activation=ACTIVATIONS[student.activation])
    found = _transformer(student.backbone, "feature-extraction", collator.tokenizer, length)
    width = student.backbone.config.hidden_size
    head = _linear(student.head.weight, student.head.bias, "sentence_embedding", "scores")
    modules = [replace(found, segments=student.segments), _pooling(width, student.pooling), head]
    return Pipeline("CrossEncoder", modules, activation=ACTIVATIONS[student.activation])


def _dense(student: Dense, collator: Collator) -> Pipeline:
    width = student.backbone.config.hidden_size
    reading = _embedding(student, student.backbone, collator, "document")
    modules = list(reading)
    if student.projection is not None:
        layer = student.projection
        modules.append(_linear(layer.weight, layer.bias, "sentence_embedding", activation=student.activation))
        width = layer.out_features
    if student.dimension not in (None, width):
        # Truncate before normalising; sentence-transformers' truncate_dim would do it after.
        modules.append(_linear(torch.eye(width)[: student.dimension], None, "sentence_embedding"))
    if student.normalise:
        modules.append(Module("Normalize", {"module_input_name": "sentence_embedding"}))
    queries = None
    if student.query_backbone is not None or _two_lengths(student):
        queries = _embedding(student, student.query_backbone or student.backbone, collator, "query")
    similarity = "cosine" if student.normalise else "dot"
    return Pipeline("SentenceTransformer", modules, queries, len(reading), _prompts(collator), similarity)


def _embedding(student: Dense, model: nn.Module, collator: Collator, role: Role) -> list[Module]:
    """Return the modules that compute one vector per text."""
    if isinstance(model, StaticModel):
        style = collator.style
        length = style.query_length if role == "query" else style.document_length
        return [Module(MODULE, weights=merged_weights(model), tokenizer=collator.tokenizer, length=length)]
    pooling = _pooling(student.backbone.config.hidden_size, student.pooling)
    return [_tower(model, "feature-extraction", collator), pooling]


def _two_lengths(student: Dense) -> bool:
    """Return whether queries need a separate tokenizer, as a static model's maximum length is in the tokenizer."""
    style = student.style
    return isinstance(student.backbone, StaticModel) and style.query_length != style.document_length


def _splade(student: Splade, collator: Collator) -> Pipeline:
    pooling = Module("SpladePooling", {"pooling_strategy": "max", "activation_function": student.activation})
    document = _tower(student.backbone, "fill-mask", collator)
    queries = None
    if student.query_backbone is not None:
        queries = [_tower(student.query_backbone, "fill-mask", collator), pooling]
    if not student.reads_queries:
        queries = [_tokens(student, collator)]
    return Pipeline("SparseEncoder", [document, pooling], queries, 2, _prompts(collator), "dot")


def _tokens(student: Splade, collator: Collator) -> Module:
    tokenizer = collator.tokenizer
    if tokenizer.tokenizer.vocab_size != student.width:
        raise ConfigError(
            f"student.query_encoder={student.query_encoder}: the tokenizer has {tokenizer.tokenizer.vocab_size} "
            f"tokens, the model {student.width}; sentence-transformers' SparseStaticEmbedding needs the same number"
        )
    table = student.query_table
    weights = ones(tokenizer, student.width) if table is None else torch.relu(table.detach())
    frozen = table is None or not table.requires_grad
    length = student.style.query_length - tokenizer.single_overhead  # without special tokens
    return Module("SparseStaticEmbedding", {"frozen": frozen}, {"weight": weights}, tokenizer=tokenizer, length=length)


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
        Module(
            "MultiVectorMask", {"skiplist_words": [*(skipped if style.skip_punctuation else []), *style.skip_words]}
        ),
    ]
    if student.normalise:
        modules.append(Module("Normalize", {"module_input_name": "token_embeddings"}))
    return Pipeline("MultiVectorEncoder", modules, prompts=_prompts(collator), similarity="maxsim")


def _tower(model: nn.Module, task: str, collator: Collator, **options: Any) -> Module:
    style = collator.style
    lengths = {"query_length": style.query_length, "document_length": style.document_length}
    return _transformer(model, task, collator.tokenizer, style.document_length, **lengths, **options)


def _transformer(model: nn.Module, task: str, tokenizer: TextTokenizer, length: int, **options: Any) -> Module:
    output, name = TASKS[task]
    config = {
        "transformer_task": task,
        "modality_config": {"text": {"method": "forward", "method_output_name": output}},
        "module_output_name": name,
    } | {key: value for key, value in options.items() if value is not None}
    return Module("Transformer", config, model=model, tokenizer=tokenizer, length=length)


def _pooling(width: int, mode: str) -> Module:
    return Module("Pooling", {"embedding_dimension": width, "pooling_mode": POOLINGS[mode], "include_prompt": True})


def _linear(
    weight: Tensor, bias: Tensor | None, source: str, target: str | None = None, activation: str = "identity"
) -> Module:
    config = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
        "activation_function": ACTIVATIONS[activation],
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
    """Return a copy of the tokenizer that reads the markers in a text as single tokens."""
    if not markers:
        return tokenizer
    copied = copy.deepcopy(tokenizer.tokenizer)
    copied.add_special_tokens({"additional_special_tokens": list(markers)})
    return TextTokenizer(copied)
