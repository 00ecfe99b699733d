"""Folders of sentence-transformers, read as students: what their modules come to, and their weights."""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from limbeck.students.adapters import plain_name
from limbeck.students.backbone import HEAD
from limbeck.students.layout import TRANSFORMERS, Layout, Module, around, one, read_json
from limbeck.students.sources import clear_errors, quiet, report, report_top

_ENDLESS = 2**20
"""A greater length stands for none."""
_QUERY, _PAIR = 32, 32 + 3
"""Of the one length of a pair, a query's share, and that with the special tokens."""
_POOLINGS = {"mean": "mean", "cls": "cls"}
_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read(found: Layout) -> tuple[str, dict[str, Any]]:
    """Return kind and options of the student that a folder comes to.

    Raises
    ------
    ConfigError
        No student is like it; the message says why.
    """
    model = found.told.get("model_type") or _guess(found)
    if model == "CrossEncoder":
        return "cross_encoder", _cross_encoder(found)
    if model == "SparseEncoder":
        return "splade", _splade(found)
    if model == "MultiVectorEncoder":
        return "colbert", _colbert(found)
    if model == "SentenceTransformer":
        return "dense", _dense(found)
    raise found.refuse(
        f"it is of the type {model}; SentenceTransformer, SparseEncoder, MultiVectorEncoder and CrossEncoder are known"
    )


def load_top(student: nn.Module, transformer: Path) -> None:
    """Load what a folder of sentence-transformers has on top of the transformer in ``transformer``, if it is one.

    What neither it nor a file of ours gives is logged.

    Raises
    ------
    ConfigError
        Something does not fit the student, or cannot be read.
    """
    if transformer == Path():  # a backbone that is made anew; not a folder where the command was given
        return
    found = around(transformer)
    given: dict[str, Tensor] = {}
    if found is not None:
        with quiet(), clear_errors(str(found.folder)):
            given = _layers(student, found) | _queries(student, found)
        own = student.state_dict()
        wrong = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
        if wrong:
            raise found.refuse(f"{', '.join(wrong)} do not fit the student")
        student.load_state_dict(given, strict=False)
    report_top(student, {*given, *_loaded_before(transformer)}, str(transformer))


def _layers(student: nn.Module, found: Layout) -> dict[str, Tensor]:
    """Return the weights of the linear layer on top, by their names in the student."""
    own = student.state_dict()
    given: dict[str, Tensor] = {}
    for prefix, output in (("projection", "token_embeddings"), ("head", "scores")):
        layers = [m for m in found.documents if m.type == "Dense" and _ends(m) == output]
        if f"{prefix}.weight" in own and layers:
            given |= {f"{prefix}.{name.removeprefix('linear.')}": value for name, value in layers[0].weights.items()}
    return given


def _queries(student: nn.Module, found: Layout) -> dict[str, Tensor]:
    """Return the weights of the queries' own transformer, by their names in the student."""
    queries: Any = getattr(student, "query_backbone", None)
    separate = [m for m in found.queries if m.type in TRANSFORMERS]
    if queries is None or not separate:
        return {}
    loaded, info = type(queries).from_pretrained(
        separate[0].folder,
        config=queries.config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # told by `report`
        output_loading_info=True,
    )
    report(loaded, info, str(separate[0].folder), queries.config.num_hidden_layers)
    own = {plain_name(name): name for name in queries.state_dict()}  # its layers may have adapters
    return {f"query_backbone.{own[name]}": value for name, value in loaded.state_dict().items() if name in own}


def _loaded_before(transformer: Path) -> list[str]:
    """Return the names in a file of ours beside the transformer."""
    if not (transformer / HEAD).is_file():
        return []
    with safe_open(transformer / HEAD, "pt") as file:
        return list(file.keys())


def _dense(found: Layout) -> dict[str, Any]:
    separate = _separate(found)
    _only(found, {*TRANSFORMERS, "Pooling", "Dense", "Normalize"})
    normalised = any(module.type == "Normalize" for module in found.documents)
    similarity = "cosine" if normalised or found.told.get("similarity_fn_name") == "cosine" else "dot"
    if found.told.get("similarity_fn_name") in ("euclidean", "manhattan"):
        raise found.refuse(f"its similarity is {found.told['similarity_fn_name']}; dot and cosine are known")
    pooling = _pooling(found, found.documents)
    if _pooling(found, found.queries) != pooling:
        raise found.refuse("queries and documents are pooled in two ways")
    cuts = [_cut(found, module) for module in found.documents if module.type == "Dense"]
    cut = cuts[-1] if cuts else found.told.get("truncate_dim")
    towers = {"towers": "separate"} if separate else {}
    return {"pooling": pooling, "similarity": similarity, "dimension": cut, **towers, **_style(found)}


def _cut(found: Layout, module: Module) -> int:
    weights = module.weights
    table = weights["linear.weight"]
    cuts = "linear.bias" not in weights and torch.equal(table, torch.eye(table.shape[1])[: len(table)])
    if not (cuts and str(module.config.get("activation_function", "")).endswith("Identity")):
        raise found.refuse(f"{module.folder.name} is a layer over the whole embedding, which a dense student has not")
    return len(table)


def _splade(found: Layout) -> dict[str, Any]:
    _only(found, {*TRANSFORMERS, "SpladePooling", "SparseStaticEmbedding"})
    for module in found.documents:
        if module.type == "SpladePooling":
            told = module.config
            way = (told.get("pooling_strategy", "max"), told.get("activation_function", "relu"))
            if way != ("max", "relu"):
                raise found.refuse(f"pooling {way[0]} with activation {way[1]}; max with relu is known")
    static = [module for module in found.queries if module.type == "SparseStaticEmbedding"]
    if not static:
        encoder = "separate" if _separate(found) else "shared"
        return {"query_encoder": encoder, **_style(found)}
    weights = static[0].weights["weight"]
    if not set(weights.unique().tolist()) <= {0.0, 1.0}:
        raise found.refuse("the tokens of queries have weights of their own; only 1 is known")
    return {"query_encoder": "tokens", **_style(found)}


def _colbert(found: Layout) -> dict[str, Any]:
    _only(found, {*TRANSFORMERS, "Dense", "MultiVectorMask", "Normalize"})
    if _separate(found):
        raise found.refuse("queries and documents have a transformer each")
    layers = [module for module in found.documents if module.type == "Dense"]
    if len(layers) != 1 or _ends(layers[0]) != "token_embeddings" or "linear.bias" in layers[0].weights:
        raise found.refuse("it must have one linear layer without bias over the tokens")
    if not str(layers[0].config.get("activation_function", "")).endswith("Identity"):
        raise found.refuse("the linear layer over the tokens has an activation")
    masks = [module.config for module in found.documents if module.type == "MultiVectorMask"]
    skipped = set(masks[0].get("skiplist_words") or []) if masks else set()
    if skipped - set(string.punctuation) or (masks and masks[0].get("keep_only_token_ids")):
        raise found.refuse("other tokens than punctuation are skipped")
    told = one(found.documents, TRANSFORMERS).config
    expansion = told.get("query_expansion")
    if expansion is not None and expansion.get("token") not in (None, "[MASK]", "<mask>"):
        raise found.refuse(f"queries are filled with {expansion['token']}; the mask token is known")
    style = _style(found)
    options: dict[str, Any] = {
        "dimension": len(layers[0].weights["linear.weight"]),
        "normalise": any(module.type == "Normalize" for module in found.documents),
        "skip_punctuation": bool(skipped),
        "query_augment": expansion is not None,
        "attend_augmented": bool(expansion and expansion.get("attend")),
    }
    for role in ("query", "document"):
        prompt = style.pop(f"{role}_prefix", "")
        marker = next((token for token in _special(found) if prompt.startswith(token)), "")
        options |= {
            f"{role}_marker": marker,
            f"{role}_prefix": prompt.removeprefix(marker),
        }
    if expansion is not None:
        style["query_length"] = expansion["length"]
    return options | style


def _cross_encoder(found: Layout) -> dict[str, Any]:
    _only(found, {*TRANSFORMERS, "Pooling", "Dense"})
    options: dict[str, Any] = {"pooling": "head"}
    if any(module.type == "Pooling" for module in found.documents):
        layers = [module for module in found.documents if module.type == "Dense"]
        told = layers[0].config if len(layers) == 1 else {}
        if told.get("out_features") != 1 or not str(told.get("activation_function", "")).endswith("Identity"):
            raise found.refuse("on top of the pooling it must have one linear layer to one score, without activation")
        options["pooling"] = _pooling(found, found.documents)
    length = _length(found.documents, "document")
    if length is not None and length > _PAIR:
        options |= {"query_length": _QUERY, "document_length": length - _PAIR}
    if any((found.told.get("prompts") or {}).values()):
        raise found.refuse("it has prompts, which a cross-encoder has not")
    return options


def _style(found: Layout) -> dict[str, Any]:
    """Return prefixes and lengths; a length that is not told is left to the student."""
    prompts = found.told.get("prompts") or {}
    style: dict[str, Any] = {}
    for role, modules in (("query", found.queries), ("document", found.documents)):
        prompt = prompts.get(role) or (prompts.get("passage") if role == "document" else None)
        if prompt:
            style[f"{role}_prefix"] = prompt
        length = _length(modules, role)
        if length is not None:
            style[f"{role}_length"] = length
    return style


def _length(modules: Sequence[Module], role: str) -> int | None:
    """Return the longest text of a role in tokens, special ones included, or None where nothing is told."""
    first = modules[0]
    told = first.config if first.type in TRANSFORMERS else {}
    length = told.get(f"{role}_length") or told.get("max_seq_length")
    if length is None:
        length = read_json(first.folder / "tokenizer_config.json").get("model_max_length")
        if first.type not in TRANSFORMERS and length is not None:
            length += 2  # it reads no special tokens
    return length if isinstance(length, int) and 3 <= length <= _ENDLESS else None


def _pooling(found: Layout, modules: Sequence[Module]) -> str:
    told = one(modules, ("Pooling",)).config
    if told.get("include_prompt") is False:
        raise found.refuse("its pooling leaves out the prompt")
    modes = told.get("pooling_mode") or [mode for key, mode in _LEGACY.items() if told.get(key)]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise found.refuse(f"its pooling is {' and '.join(modes)}; mean and cls are known")
    return _POOLINGS[modes[0]]


def _separate(found: Layout) -> bool:
    """Tell whether queries have a transformer of their own."""
    folders = [
        [module.folder for module in each if module.type in TRANSFORMERS] for each in (found.queries, found.documents)
    ]
    return folders[0] != folders[1]


def _only(found: Layout, known: set[str]) -> None:
    for module in [*found.documents, *found.queries]:
        if module.type not in known:
            raise found.refuse(f"the module {module.type} is not known there")


def _ends(module: Module) -> str:
    told = module.config
    return str(told.get("module_output_name") or told.get("module_input_name") or "sentence_embedding")


def _special(found: Layout) -> list[str]:
    """Return the tokens that the tokenizer reads whole, longest first."""
    told = read_json(found.transformer() / "tokenizer.json") or read_json(found.folder / "tokenizer.json")
    return sorted((item["content"] for item in told.get("added_tokens", [])), key=len, reverse=True)


def _guess(found: Layout) -> str:
    """Name the class of a folder that does not tell: those of versions before 5 do not."""
    types = {module.type for module in found.documents}
    if "SpladePooling" in types:
        return "SparseEncoder"
    if "MultiVectorMask" in types:
        return "MultiVectorEncoder"
    return "SentenceTransformer" if "Pooling" in types else "CrossEncoder"
