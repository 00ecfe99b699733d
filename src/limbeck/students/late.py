"""Reads late-interaction models: sentence-transformers' MultiVectorEncoder, PyLate, and ColBERT's original code."""

import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limbeck.backbones import known
from limbeck.backbones import stanford as stanfords
from limbeck.backbones.layout import TRANSFORMERS, Layout, one
from limbeck.backbones.settings_file import read_json
from limbeck.config import ConfigError

_LENGTH = 32
"""Default query length of PyLate and ColBERT."""
_DOCUMENT = 220
"""Default document length of ColBERT."""


def is_pylate(found: Layout) -> bool:
    """Return whether a folder is PyLate's, by its class, modules or keys."""
    keys = known.PYLATE.keys() & found.settings.keys()
    return found.settings.get("model_type") == "ColBERT" or "pylate" in found.packages or bool(keys)


def stanford(folder: Path) -> dict[str, Any]:
    """Return the options of the student ``colbert`` for a folder of ColBERT's original code.

    ``artifact.metadata`` holds the whole training configuration; this reads the keys that affect scores. Missing keys
    have ColBERT's defaults.

    Raises
    ------
    ConfigError
        The model does not score by MaxSim of cosines, or a file is damaged.
    """
    path = folder / stanfords.METADATA
    said = read_json(path)
    for key, wanted in (("similarity", "cosine"), ("interaction", "colbert")):
        if said.get(key, wanted) != wanted:
            raise ConfigError(
                f"{folder} cannot be read as a student: {path}: {key} is {said[key]}; {wanted} is supported"
            )
    return {
        "dimension": said.get("dim") or len(stanfords.projection(folder)),
        "normalise": True,
        "query_marker": said.get("query_token_id") or "[unused0]",
        "document_marker": said.get("doc_token_id") or "[unused1]",
        "query_augment": True,
        "attend_augmented": bool(said.get("attend_to_mask_tokens")),
        "skip_punctuation": bool(said.get("mask_punctuation", True)),
        "query_length": said.get("query_maxlen") or _LENGTH,
        "document_length": said.get("doc_maxlen") or _DOCUMENT,
    }


def multi_vector(found: Layout, lengths: Mapping[str, int | None]) -> dict[str, Any]:
    """Return the options of the student ``colbert`` for a late-interaction model, except its dimension.

    Parameters
    ----------
    found
        The folder.
    lengths
        Role → maximum length of the transformer, used if PyLate's keys have none.

    Raises
    ------
    ConfigError
        A setting is not supported.
    """
    pylate = is_pylate(found) and found.settings.get("model_type") != "MultiVectorEncoder"
    own = {**_of_pylate(found), **one(found.documents, TRANSFORMERS).config}
    normalised = any(module.type == "Normalize" for module in found.documents)
    options = {"normalise": normalised or pylate, **_skipped(found, pylate), **_prefixes(found)}
    for role in ("query", "document"):
        tokens = own.get(f"{role}_length") or lengths[role]
        if tokens is not None:
            options[f"{role}_length"] = tokens
    return options | _expansion(found, own.get("query_expansion"))


def _of_pylate(found: Layout) -> dict[str, Any]:
    """Translate PyLate's keys to those of sentence-transformers' Transformer module."""
    settings = found.settings
    if not known.PYLATE.keys() & settings.keys():
        return {}
    own = {key: settings[key] for key in ("query_length", "document_length") if settings.get(key) is not None}
    if "query_expansion" in settings:
        return own | {"query_expansion": settings["query_expansion"]}
    if settings.get("do_query_expansion") is False:
        return own | {"query_expansion": None}
    attend = settings.get("attend_to_expansion_tokens", settings.get("attend_to_mask_tokens"))
    tokens = own.pop("query_length", None) or _LENGTH
    return own | {"query_expansion": {"strategy": "fixed", "attend": bool(attend), "length": tokens}}


def _expansion(found: Layout, settings: Any) -> dict[str, Any]:
    if settings is None:
        return {"query_augment": False, "attend_augmented": False}
    if settings.get("strategy", "fixed") != "fixed":
        raise found.refuse(f"queries are expanded by the strategy {settings['strategy']}; fixed is supported")
    mask = _text(read_json(found.transformer() / "tokenizer_config.json").get("mask_token"))
    if settings.get("token") not in (None, mask or "[MASK]"):
        raise found.refuse(f"queries are expanded with {settings['token']}; the mask token is supported")
    attended = bool(settings.get("attend"))
    return {"query_augment": True, "attend_augmented": attended, "query_length": settings["length"]}


def _skipped(found: Layout, pylate: bool) -> dict[str, Any]:
    """Return the options for document tokens that get no vector."""
    masks = [module.config for module in found.documents if module.type == "MultiVectorMask"]
    words = list(masks[0].get("skiplist_words") or []) if masks else []
    if pylate:
        given = found.settings.get("skiplist_words")
        v3 = found.settings.get("model_type") == "ColBERT"
        usual = list(string.punctuation) if v3 or {"query_prefix", "document_prefix"} & found.settings.keys() else []
        words += usual if given is None else list(given)
    vocabulary = _vocabulary(found) or {*string.punctuation, *words}  # without tokenizer.json
    marks = set(string.punctuation) & vocabulary
    whole = bool(marks) and marks <= set(words)
    return {"skip_punctuation": whole, "skip_words": sorted(set(words) & vocabulary - (marks if whole else set()))}


def _prefixes(found: Layout) -> dict[str, Any]:
    """Return marker and prefix of each role; a marker is always a single token."""
    settings, prompts = found.settings, found.settings.get("prompts") or {}
    special, vocabulary = _special(found), _vocabulary(found)
    options: dict[str, Any] = {}
    for role in ("query", "document"):
        prompt, inserted = prompts.get(role) or "", settings.get(f"{role}_prefix") or ""
        prompt = inserted + prompt.removeprefix(inserted)
        starts = [inserted, *inserted.split(None, 1)[:1]]
        marker = next((start for start in starts if start and start in vocabulary and inserted.startswith(start)), "")
        marker = marker or next((token for token in special if prompt.startswith(token)), "")
        options |= {f"{role}_marker": marker, f"{role}_prefix": prompt.removeprefix(marker)}
    return options


def _special(found: Layout) -> list[str]:
    """Return the tokenizer's added tokens, which it never splits; longest first."""
    return sorted((item["content"] for item in _tokenizer(found).get("added_tokens", [])), key=len, reverse=True)


def _vocabulary(found: Layout) -> set[str]:
    words: Any = (_tokenizer(found).get("model") or {}).get("vocab") or {}
    plain: Iterable[str] = words if isinstance(words, dict) else (word for word, _ in words)
    return {*plain, *_special(found)}


def _tokenizer(found: Layout) -> dict[str, Any]:
    return read_json(found.transformer() / "tokenizer.json") or read_json(found.folder / "tokenizer.json")


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token
