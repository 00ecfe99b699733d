"""Checks of sentence-transformers folders with separate modules (Router) for queries and documents.

A student has one tokenizer for all texts, and its two transformers have the same configuration.
"""

import logging
from typing import Any

import numpy as np
import torch

from limbeck.backbones import families, tables
from limbeck.backbones.layout import TRANSFORMERS, Layout, Module, lower_cases
from limbeck.backbones.sources import clear_errors, load_tokenizer, quiet, some, tokenizer_folder
from limbeck.students.query_table import ones
from limbeck.text.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

_NEUTRAL = {
    "_name_or_path",
    "architectures",
    "transformers_version",
    "dtype",
    "initializer_range",
    "use_cache",
    "id2label",
    "label2id",
    "problem_type",
    *families.DROPOUTS,
}
"""Keys of a transformer's ``config.json`` that do not affect scores."""


def check(found: Layout) -> None:
    """Raise an error if queries and documents are read in ways that a student cannot represent.

    Raises
    ------
    ConfigError
        The tokenizers or the transformers' configurations differ, or query token weights are negative; the message
        names the files.
    """
    query, document = found.queries[0], found.documents[0]
    if query.folder == document.folder:
        return
    if query.type != document.type and tables.MODULE in (query.type, document.type):
        raise found.refuse(f"queries are read by a {query.type}, documents by a {document.type}; they must be the same")
    words = _tokenizer(query)
    if _way(words, query) != _way(_tokenizer(document), query):
        raise found.refuse(
            f"the tokenizers in {query.folder} and {document.folder} split texts differently, or only one of them "
            "lower-cases them (do_lower_case); queries and documents must have the same"
        )
    if query.type in TRANSFORMERS:
        _check_shapes(found, query, document)
    elif query.type != tables.MODULE:
        _check_weights(found, query, words)


def _tokenizer(module: Module) -> TextTokenizer:
    if module.type == tables.MODULE:
        return tables.words(module.folder)
    return load_tokenizer(tokenizer_folder(str(module.folder)), lower_case=lower_cases(module.folder))


def _way(words: TextTokenizer, query: Module) -> Any:
    """Return everything that a text's token ids depend on; special tokens count only if queries have them."""
    frame = words.framed([np.array([], dtype=words.dtype)])[0].tolist() if query.type in TRANSFORMERS else []
    return words.fingerprint, frame


def _check_shapes(found: Layout, query: Module, document: Module) -> None:
    """Raise an error if the two transformers have different configurations."""
    ours, theirs = _config(document), _config(query)
    differing = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if differing:
        name = differing[0]
        raise found.refuse(
            f"{query.folder / 'config.json'} and {document.folder / 'config.json'} differ in {some(differing)} "
            f"({name} is {theirs.get(name)!r} and {ours.get(name)!r}); the transformers of queries and documents must "
            "have the same configuration"
        )


def _config(module: Module) -> dict[str, Any]:
    from transformers import AutoConfig

    with quiet(), clear_errors(str(module.folder)):
        settings = AutoConfig.from_pretrained(module.folder, trust_remote_code=False).to_dict()
    return {name: value for name, value in settings.items() if name not in _NEUTRAL}


def _check_weights(found: Layout, query: Module, words: TextTokenizer) -> None:
    """Raise an error for negative query token weights, which a sparse index does not support."""
    with clear_errors(str(query.folder)):
        weights = query.weights["weight"]
    wrong = (~(weights >= 0)).nonzero().flatten().tolist()
    if wrong:
        tokens = words.tokenizer.convert_ids_to_tokens(wrong)
        raise found.refuse(f"query tokens have weights below 0, or NaN, in {query.folder}: {some(map(str, tokens))}")
    frame = [number for number in words.special.tolist() if number != words.tokenizer.unk_token_id]
    heavy = [number for number in frame if number < len(weights) and weights[number] != 0]
    if heavy:
        log.info(
            "%s: special tokens in the text of a query (%s) have weight 0 here", query.folder,
            some(map(str, words.tokenizer.convert_ids_to_tokens(heavy))),
        )  # fmt: skip


def plain(query: Module) -> bool:
    """Return whether all query tokens have weight 1, and special tokens weight 0."""
    with clear_errors(str(query.folder)):
        weights = query.weights["weight"]
    return torch.equal(weights, ones(_tokenizer(query), len(weights)))
