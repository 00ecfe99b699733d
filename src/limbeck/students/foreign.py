"""Reads model folders of sentence-transformers and PyLate: derives a student's options from their modules and keys.

``known.py`` lists the supported modules and keys; anything else is an error that names file and key.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from limbeck.backbones import known, tables
from limbeck.backbones.layout import READERS, TRANSFORMERS, Layout, Module, one
from limbeck.backbones.settings_file import read_json
from limbeck.backbones.sources import load_tokenizer, tokenizer_folder
from limbeck.students import routes
from limbeck.students.late import is_pylate, multi_vector
from limbeck.students.understood import check

log = logging.getLogger(__name__)

_ENDLESS = 2**20
"""A greater maximum length means that there is none."""
_HEADS = ("sparse_linear.pt", "colbert_linear.pt")
"""Files of bge-m3's sparse and multi-vector heads."""
_QUERY = 32
"""Query tokens of a cross-encoder's maximum length; at most half of it."""
_POOLINGS = {written: name for name, written in known.POOLINGS.items()}
_ACTIVATIONS = {written: name for name, written in known.ACTIVATIONS.items()}
_KINDS = {
    "SentenceTransformer": "dense",
    "SparseEncoder": "splade",
    "MultiVectorEncoder": "colbert",
    "ColBERT": "colbert",
    "CrossEncoder": "cross_encoder",
}
_OFFSET = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet")
"""Families whose positions start after the padding token's id."""


def read(found: Layout) -> tuple[str, dict[str, Any]]:
    """Return kind and options of the student that gives the same scores as the model in a folder.

    Raises
    ------
    ConfigError
        There is no such student, or a module or key is not supported; the message names it.
    """
    kind = _kind(found)
    check(found, kind)
    routes.check(found)
    options = {"dense": _dense, "splade": _splade, "colbert": _colbert, "cross_encoder": _cross_encoder}[kind](found)
    said = ", ".join(f"{name}={value!r}" for name, value in options.items() if value not in (None, ""))
    _say(f"{found.folder}: read as student={kind} with {said}")
    return kind, options


@functools.cache
def _say(text: str) -> None:
    """Log a message once per process: the runs of a sweep read the same folder."""
    log.info("%s", text)


SCORES = ("sentence_transformers", "sbert_ce_default_activation_function")
"""Keys in ``config.json`` that mark a CrossEncoder of sentence-transformers before version 6 (without modules)."""


def classifier(folder: Path) -> dict[str, Any]:
    """Return the options of a CrossEncoder saved without modules, as a checkpoint with a classifier."""
    alone = [Module("Transformer", folder)]
    return _cross_encoder(Layout(folder, alone, alone, {"model_type": "CrossEncoder"}))


def _kind(found: Layout) -> str:
    """Return the student's kind from ``model_type``, or, in folders of before version 5, from the modules."""
    model = found.settings.get("model_type")
    if model is None:
        types = {module.type for module in found.documents}
        if is_pylate(found):
            model = "ColBERT"
        elif "SpladePooling" in types:
            model = "SparseEncoder"
        elif "MultiVectorMask" in types:
            model = "MultiVectorEncoder"
        else:  # the library's default
            model = "SentenceTransformer"
    if model not in _KINDS:
        raise found.refuse(f"{found.file}: model_type is {model}; {', '.join(_KINDS)} are supported")
    return _KINDS[model]


def _dense(found: Layout) -> dict[str, Any]:
    separate = _separate(found)
    shared = [
        [m.folder for m in modules if m.type not in (*READERS, "Pooling")]
        for modules in (found.documents, found.queries)
    ]
    if shared[0] != shared[1]:
        raise found.refuse("queries and documents have different layers after the pooling")
    pooling = _pooling(found, found.documents)
    if _pooling(found, found.queries) != pooling:
        raise found.refuse("queries and documents are pooled differently")
    options: dict[str, Any] = {"pooling": pooling, "similarity": _similarity(found), "dimension": None}
    layers = [module for module in found.documents if module.type == "Dense"]
    if layers and not _cuts(layers[0]):
        options |= _projection(found, layers.pop(0))
    if len(layers) > 1 or any(not _cuts(layer) for layer in layers):
        raise found.refuse(f"{layers[-1].folder.name} is a second layer over the embedding; one is supported")
    sizes = [len(layer.weights["linear.weight"]) for layer in layers]
    cut = found.settings.get("truncate_dim")
    width = [*sizes, options.get("projection"), read_json(found.transformer() / "config.json").get("hidden_size")]
    if cut is not None and cut < next((size for size in width if size is not None), _ENDLESS):
        normalised = any(module.type == "Normalize" for module in found.documents)
        if normalised and found.settings.get("similarity_fn_name") == "dot":
            raise found.refuse(f"{found.file}: truncate_dim cuts normalised vectors, whose dot is then not a cosine")
        sizes.append(cut)
    options["dimension"] = sizes[-1] if sizes else None
    others = [name for name in _HEADS if (found.folder / name).is_file()]
    if others:
        log.info("%s: %s are heads for other vectors; only the dense ones are read", found.folder, ", ".join(others))
    return options | ({"towers": "separate"} if separate else {}) | _style(found)


def _similarity(found: Layout) -> str:
    """Return the similarity; as in the library, a missing or unknown name is cosine."""
    settings = found.settings.get("similarity_fn_name")
    if settings in ("euclidean", "manhattan"):
        raise found.refuse(f"{found.file}: similarity_fn_name is {settings}; dot and cosine are supported")
    normalised = any(module.type == "Normalize" for module in found.documents)
    return "dot" if settings == "dot" and not normalised else "cosine"


def _cuts(module: Module) -> bool:
    """Return whether a linear layer only truncates the embedding to its first components."""
    weights = module.weights
    table = weights["linear.weight"]
    plain = "linear.bias" not in weights and torch.equal(table, torch.eye(table.shape[1])[: len(table)])
    return plain and _ACTIVATIONS.get(str(module.config.get("activation_function"))) == "identity"


def _projection(found: Layout, module: Module) -> dict[str, Any]:
    weights = module.weights
    return {
        "projection": len(weights["linear.weight"]),
        "projection_bias": "linear.bias" in weights,
        "activation": _activation(found, module),
    }


def _activation(found: Layout, module: Module) -> str:
    settings = module.config.get("activation_function", "torch.nn.modules.activation.Tanh")  # the library's default
    if settings not in _ACTIVATIONS:
        raise found.refuse(f"{module.file}: activation_function is {settings}; {', '.join(_ACTIVATIONS)} are supported")
    return _ACTIVATIONS[settings]


def _splade(found: Layout) -> dict[str, Any]:
    static = [module for module in found.queries if module.type == "SparseStaticEmbedding"]
    pooled = {
        module.config.get("activation_function", "relu")
        for module in (*found.documents, *found.queries)
        if module.type == "SpladePooling"
    }
    if len(pooled) > 1:
        raise found.refuse("queries and documents have different activation functions")
    options: dict[str, Any] = {"activation": pooled.pop()} if pooled != {"relu"} else {}
    if not static:
        options["query_encoder"] = "separate" if _separate(found) else "shared"
    elif static[0].config.get("frozen") is not False and routes.plain(static[0]):
        options["query_encoder"] = "tokens"
    else:
        learned = static[0].config.get("frozen") is False
        options |= {"query_encoder": "table", **({"learn_query_table": True} if learned else {})}
    return {**options, **_style(found)}


def _colbert(found: Layout) -> dict[str, Any]:
    if _separate(found):
        raise found.refuse("queries and documents have separate transformers; one is supported")
    layers = [module for module in found.documents if module.type == "Dense"]
    if len(layers) != 1 or "linear.bias" in layers[0].weights:
        raise found.refuse("it must have one linear layer (Dense) without bias over the tokens")
    if _activation(found, layers[0]) != "identity":
        raise found.refuse(f"{layers[0].file}: the linear layer over the tokens has an activation")
    lengths = {role: length(found.documents, role) for role in ("query", "document")}
    return {"dimension": len(layers[0].weights["linear.weight"]), **multi_vector(found, lengths)}


def _cross_encoder(found: Layout) -> dict[str, Any]:
    words = load_tokenizer(tokenizer_folder(str(found.transformer())))
    # The library passes token_type_ids to the model if the tokenizer lists them as an input.
    segments = "token_type_ids" in words.tokenizer.model_input_names
    options: dict[str, Any] = {"pooling": "head", "activation": _of_scores(found), "segments": segments}
    if any(module.type == "Pooling" for module in found.documents):
        layers = [module for module in found.documents if module.type == "Dense"]
        if len(layers) != 1 or len(layers[0].weights["linear.weight"]) != 1:
            raise found.refuse("it must have one linear layer with one output after the pooling")
        if _activation(found, layers[0]) != "identity":
            raise found.refuse(f"{layers[0].file}: activation_function must be Identity: activation_fn comes after it")
        options["pooling"] = _pooling(found, found.documents)
    most = length(found.documents, "document")
    if most is not None:
        room = most - words.pair_overhead
        if room < 6:
            raise found.refuse(f"a pair of at most {most} tokens (max_seq_length) leaves no room for two texts")
        query = min(_QUERY, room // 2)
        options |= {"query_length": query, "document_length": room - query}
    prompts = found.settings.get("prompts") or {}
    if prompts.get(found.settings.get("default_prompt_name")):
        raise found.refuse(
            f"{found.file}: default_prompt_name is {found.settings['default_prompt_name']}; "
            "a cross-encoder has no prompts"
        )
    return options


def _of_scores(found: Layout) -> str:
    """Return the activation of a cross-encoder's scores; as in the library, the default is the sigmoid."""
    settings = found.settings.get("activation_fn")
    if settings is None:
        config = read_json(found.transformer() / "config.json")
        own = config.get("sentence_transformers") or {}
        settings = (
            own.get("activation_fn") if "activation_fn" in own else config.get("sbert_ce_default_activation_function")
        )
    activation = "sigmoid" if settings is None else _ACTIVATIONS.get(settings)
    if activation not in ("identity", "sigmoid"):
        raise found.refuse(f"its activation_fn is {settings}; torch's Identity and Sigmoid are supported")
    return activation


def _style(found: Layout) -> dict[str, Any]:
    """Return prefixes and lengths; without a length in the folder, the student's default applies."""
    prompts = found.settings.get("prompts") or {}
    style: dict[str, Any] = {}
    for role, modules in (("query", found.queries), ("document", found.documents)):
        if prompts.get(role):
            style[f"{role}_prefix"] = prompts[role]
        tokens = length(modules, role)
        if tokens is not None:
            style[f"{role}_length"] = tokens
    others = [name for name, text in prompts.items() if text and name not in ("query", "document")]
    if others:
        log.warning(
            "%s: the prompts %s are not used, as in sentence-transformers' encode_query and encode_document; to use "
            "one: student.options={query_prefix: …, document_prefix: …}",
            found.file, ", ".join(others),
        )  # fmt: skip
    return style


def length(modules: Sequence[Module], role: str) -> int | None:
    """Return the maximum length of a role's texts in tokens, including special tokens; None if there is none."""
    first = modules[0]
    if first.type == tables.MODULE:
        return tables.longest(first.folder)
    settings = first.config if first.type in TRANSFORMERS else {}
    most = settings.get(f"{role}_length") or settings.get("max_seq_length")
    if most is None:
        most = _most_of_tokenizer(first)
    if first.type not in TRANSFORMERS:
        return most + 2 if isinstance(most, int) and 1 <= most <= _ENDLESS else None  # excludes special tokens
    config = read_json(first.folder / "config.json")
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        positions -= int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in _OFFSET else 0
        most = positions if most is None else min(most, positions)
    return most if isinstance(most, int) and 3 <= most <= _ENDLESS else None


def _most_of_tokenizer(first: Module) -> int | None:
    for folder in (first.folder, first.folder.parent):
        if (folder / "tokenizer_config.json").is_file():
            return read_json(folder / "tokenizer_config.json").get("model_max_length")
    return None


def _pooling(found: Layout, modules: Sequence[Module]) -> str:
    if modules[0].type == tables.MODULE:
        return "mean"
    module = one(modules, ("Pooling",))
    settings = module.config
    if settings.get("include_prompt") is False:
        raise found.refuse(f"{module.file}: include_prompt is false: pooling without the prompt is not supported")
    modes = settings.get("pooling_mode") or [mode for key, mode in known.LEGACY_POOLING.items() if settings.get(key)]
    modes = ["mean"] if not modes else [modes] if isinstance(modes, str) else list(modes)  # the library's default
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise found.refuse(f"{module.file}: its pooling is {' and '.join(modes)}; {', '.join(_POOLINGS)} are supported")
    return _POOLINGS[modes[0]]


def _separate(found: Layout) -> bool:
    """Return whether queries have a separate transformer."""
    folders = [
        [module.folder for module in each if module.type in READERS] for each in (found.queries, found.documents)
    ]
    return folders[0] != folders[1]
