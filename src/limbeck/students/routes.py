"""Folders with a sequence of modules for queries and one for documents: what a student shares is alike in both.

A student has one tokenizer for all texts, and its two transformers have one configuration.
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
"""Keys of a transformer's ``config.json`` that change no score."""


def check(found: Layout) -> None:
    """Refuse a folder whose queries are read in another way than its documents, where a student shares that way.

    Raises
    ------
    ConfigError
        The tokenizers, the transformers' configurations or the weights of queries' tokens are not those of a student;
        the message names the files.
    """
    query, document = found.queries[0], found.documents[0]
    if query.folder == document.folder:
        return
    if query.type != document.type and tables.MODULE in (query.type, document.type):
        raise found.refuse(f"queries are read by a {query.type}, documents by a {document.type}; one way is known")
    words = _tokenizer(query)
    if _way(words, query) != _way(_tokenizer(document), query):
        raise found.refuse(
            f"the tokenizers in {query.folder} and {document.folder} split texts in two ways, or one of them "
            "lower-cases them (do_lower_case); queries and documents must have one"
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
    """Return all that the ids of a text depend on; special tokens count where queries have them."""
    frame = words.framed([np.array([], dtype=words.dtype)])[0].tolist() if query.type in TRANSFORMERS else []
    return words.fingerprint, frame


def _check_shapes(found: Layout, query: Module, document: Module) -> None:
    """Refuse two transformers of two configurations."""
    ours, theirs = _config(document), _config(query)
    differing = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if differing:
        name = differing[0]
        raise found.refuse(
            f"{query.folder / 'config.json'} and {document.folder / 'config.json'} differ in {some(differing)} "
            f"({name} is {theirs.get(name)!r} and {ours.get(name)!r}); the transformers of queries and documents must "
            "have one configuration"
        )


def _config(module: Module) -> dict[str, Any]:
    from transformers import AutoConfig

    with quiet(), clear_errors(str(module.folder)):
        settings = AutoConfig.from_pretrained(module.folder, trust_remote_code=False).to_dict()
    return {name: value for name, value in settings.items() if name not in _NEUTRAL}


def _check_weights(found: Layout, query: Module, words: TextTokenizer) -> None:
    """Refuse queries' tokens that weigh less than nothing, which no index of words takes."""
    with clear_errors(str(query.folder)):
        weights = query.weights["weight"]
    wrong = (~(weights >= 0)).nonzero().flatten().tolist()
    if wrong:
        tokens = words.tokenizer.convert_ids_to_tokens(wrong)
        raise found.refuse(
            f"tokens of queries weigh less than 0, or no number, in {query.folder}: {some(map(str, tokens))}"
        )
    frame = [number for number in words.special.tolist() if number != words.tokenizer.unk_token_id]
    heavy = [number for number in frame if number < len(weights) and weights[number] != 0]
    if heavy:
        log.info(
            "%s: special tokens that a query spells out (%s) weigh nothing here", query.folder,
            some(map(str, words.tokenizer.convert_ids_to_tokens(heavy))),
        )  # fmt: skip


def plain(query: Module) -> bool:
    """Return whether each word of queries weighs 1, and a special token nothing."""
    with clear_errors(str(query.folder)):
        weights = query.weights["weight"]
    return torch.equal(weights, ones(_tokenizer(query), len(weights)))
