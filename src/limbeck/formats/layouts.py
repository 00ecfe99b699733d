"""How public training lists with scores name their columns: a row becomes a query with scored documents.

=============  =====================================================================================================
layout         columns
=============  =====================================================================================================
``passages``   query_id, query, positive_passages [{docid, text, title, score}], negative_passages: Tevatron, RLHN
``pos_neg``    query, pos [], neg [], pos_scores [], neg_scores []: FlagEmbedding
``apart``      query, document, document_score, negatives [] (or negative_0, …), negative_scores []: cornstack
``columns``    query, positive, negative_1, … or doc_1, doc_2, …, and scores []: one for each document. With one score
               less, or a single one, they are margins: the positive's minus the negative's: sentence-transformers
``lists``      query_id, document_ids [], scores []; or query, documents [], scores []; labels [] besides: lightonai, …
``order``      query_id, document_ids [], best first, and no scores: rankzephyr-colbert
=============  =====================================================================================================

A list may also be a text, ``"['1', '2']"``, and a score one, ``"0.7"``.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

QUERY_IDS = ("query_id", "query-id", "qid", "q_id")
QUERIES = ("query", "question", "anchor")
DOCUMENT_IDS = ("document_ids", "doc_ids", "corpus_ids", "corpus_id", "docids", "passage_ids", "pids")
DOCUMENTS = ("documents", "docs", "passages", "texts")
SCORES = ("scores", "score", "label", "teacher_scores")
POSITIVES = ("document", "pos_text", "positive")
NEGATIVES = ("negatives", "negs_text", "negs")
POSITIVE_SCORES = ("document_score", "pos_score", "positive_score")
NEGATIVE_SCORES = ("negative_scores", "negs_score", "negatives_scores")

_NUMBERED = re.compile(r"(negative|doc|document|passage)_?(\d+)(_id)?$")


class Text(NamedTuple):
    """A query or document: by id, by text, or both."""

    id: str | None
    text: str | None = None
    title: str = ""


class Record(NamedTuple):
    """A query with scored documents."""

    query: Text
    documents: list[Text]
    scores: list[float]
    positives: list[int]
    """Positions of the documents that the row calls relevant."""
    margins: bool = False
    """Whether the scores are differences: 0 for the positive, which comes first, minus the margin for others."""


class Layout(NamedTuple):
    """How the rows of a file are read."""

    name: str
    columns: tuple[str, ...]
    """The columns to read."""
    read: Callable[[Mapping[str, Any]], Record]
    """Reads a row; raises ``ValueError``, ``KeyError`` or ``TypeError`` for a malformed one."""


EXPECTS = "a query and its scored documents in one of the layouts of docs/howto/import.md"


def layout(names: Sequence[str]) -> Layout | None:
    """Return the layout of a file with these columns; None if it is unknown."""
    query = [name for group in (QUERY_IDS, QUERIES) for name in [_first(group, names)] if name]
    if not query:
        return None
    if {"positive_passages", "negative_passages"} <= set(names):
        return Layout("passages", (*query, "positive_passages", "negative_passages"), _passages)
    if {"pos", "neg"} <= set(names):
        own = [name for name in ("pos", "neg", "pos_scores", "neg_scores") if name in names]
        return Layout("pos_neg", (*query, *own), _pos_neg)
    numbered = _numbered(names)
    scored = _first(POSITIVE_SCORES, names)
    if scored and _first(POSITIVES, names):
        own = [_first(group, names) for group in (POSITIVES, NEGATIVES, NEGATIVE_SCORES)]
        return Layout("apart", (*query, scored, *filter(None, own), *numbered), _apart)
    score = _first(SCORES, names)
    listed = _first(DOCUMENT_IDS, names) or _first(DOCUMENTS, names)
    if listed and (score or "labels" in names):
        more = [name for name in (score, "labels") if name in names and name]
        return Layout("lists", (*query, listed, *more), _lists) if score else None
    if listed and listed in DOCUMENT_IDS:
        return Layout("order", (*query, listed), _order)
    positive = [name for name in ("positive_id", "positive") if name in names][:1]
    own = [*positive, *[name for name in ("negative_id", "negative") if name in names][:1], *numbered]
    if score and len(own) > 1:
        return Layout("columns", (*query, *own, score), lambda row: _columns(row, own, score, bool(positive)))
    return None


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the numbered columns, in the order of their numbers."""
    return sorted((name for name in names if _NUMBERED.match(name)), key=lambda name: int(_NUMBERED.match(name)[2]))  # pyright: ignore[reportOptionalSubscript]


# -- the layouts --------------------------------------------------------------------------------------------------


def _passages(row: Mapping[str, Any]) -> Record:
    every = [*listed(row, "positive_passages"), *listed(row, "negative_passages")]
    if any(each.get("score") is None for each in every):
        raise ValueError("has passages without 'score': have a teacher score the lists first")
    documents = [Text(_id(each["docid"]), _text(each["text"]), each.get("title") or "") for each in every]
    positives = list(range(len(listed(row, "positive_passages"))))
    return Record(_query(row), documents, [_score(each["score"]) for each in every], positives)


def _pos_neg(row: Mapping[str, Any]) -> Record:
    positives, negatives = listed(row, "pos"), listed(row, "neg")
    for name in ("pos_scores", "neg_scores"):
        if row.get(name) is None:
            raise ValueError(f"has no {name!r}: score the lists with a re-ranker first (add_reranker_score)")
    scores = []
    for name, texts in (("pos", positives), ("neg", negatives)):
        given = listed(row, f"{name}_scores")
        if len(texts) != len(given):
            raise ValueError(f"has {len(texts)} texts in {name!r}, but {len(given)} in '{name}_scores'")
        scores += map(_number, given)
    documents = [Text(None, _text(each)) for each in [*positives, *negatives]]
    return Record(_query(row), documents, scores, list(range(len(positives))))


def _apart(row: Mapping[str, Any]) -> Record:
    names = tuple(row)
    positive, scored = _first(POSITIVES, names), _first(POSITIVE_SCORES, names)
    many, scores = _first(NEGATIVES, names), _first(NEGATIVE_SCORES, names)
    assert positive, "the layout has it"
    assert scored, "the layout has it"
    negatives = listed(row, many) if many else [row[name] for name in _numbered(names) if row[name] is not None]
    if scores is None:
        raise ValueError(f"has a score of {positive!r} but none of its negatives ({', '.join(NEGATIVE_SCORES)})")
    given = listed(row, scores)
    if len(negatives) != len(given):
        raise ValueError(f"has {len(negatives)} negatives, but {len(given)} in {scores!r}")
    documents = [Text(None, _text(each)) for each in [row[positive], *negatives]]
    return Record(_query(row), documents, [_score(each) for each in [row[scored], *given]], [0])


def _lists(row: Mapping[str, Any]) -> Record:
    documents = _documents(row)
    name = _first(SCORES, tuple(row))
    assert name, "the layout has it"
    scores = [_score(each) for each in listed(row, name)]
    if len(documents) != len(scores):
        raise ValueError(f"has {len(documents)} documents, but {len(scores)} in {name!r}")
    labels = listed(row, "labels") if row.get("labels") is not None else []
    if labels and len(labels) != len(documents):
        raise ValueError(f"has {len(documents)} documents, but {len(labels)} in 'labels'")
    return Record(_query(row), documents, scores, [place for place, label in enumerate(labels) if _score(label) > 0])


def _order(row: Mapping[str, Any]) -> Record:
    documents = _documents(row)
    return Record(_query(row), documents, [-float(rank) for rank in range(1, len(documents) + 1)], [])


def _documents(row: Mapping[str, Any]) -> list[Text]:
    ids, texts = _first(DOCUMENT_IDS, tuple(row)), _first(DOCUMENTS, tuple(row))
    if ids:
        return [Text(_id(each)) for each in listed(row, ids)]
    assert texts, "the layout has one of them"
    return [Text(None, _text(each)) for each in listed(row, texts)]


def _columns(row: Mapping[str, Any], names: Sequence[str], score: str, judged: bool) -> Record:
    present = [name for name in names if row.get(name) is not None]  # a list may be shorter than the longest one
    documents = [Text(_id(row[name])) if name.endswith("_id") else Text(None, _text(row[name])) for name in present]
    value = _unpacked(row[score])
    scores = [_score(each) for each in value] if isinstance(value, list) else [_score(value)]
    positives = [0] if judged else []
    if judged and len(scores) == len(documents) - 1:
        return Record(_query(row), documents, [0.0, *(-margin for margin in scores)], positives, margins=True)
    if len(scores) != len(documents):
        raise ValueError(f"has {len(documents)} documents, but {len(scores)} in {score!r}")
    return Record(_query(row), documents, scores, positives)


# -- values -------------------------------------------------------------------------------------------------------


def _query(row: Mapping[str, Any]) -> Text:
    identifier, text = _first(QUERY_IDS, tuple(row)), _first(QUERIES, tuple(row))
    return Text(_id(row[identifier]) if identifier else None, _text(row[text]) if text else None)


def _id(value: Any) -> str:
    if type(value) not in (int, str) or value == "":
        raise ValueError(f"{value!r} is no id")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is no score")
    return value


def _score(value: Any) -> float:
    """Return a number, which may be given as text."""
    try:
        return float(value) if isinstance(value, str) else _number(value)
    except ValueError:
        raise ValueError(f"{value!r} is no score") from None


def listed(row: Mapping[str, Any], name: str) -> list[Any]:
    """Return the list in a column, which may be given as text.

    Raises
    ------
    ValueError
        There is no list.
    """
    found = _unpacked(row.get(name))
    if not isinstance(found, list):
        raise ValueError(f"has no list {name!r}")
    return found


def _unpacked(value: Any) -> Any:
    """Return the list in a text in brackets, written as JSON or by Python; other values unchanged."""
    if not isinstance(value, str) or value.strip()[:1] != "[":
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value
