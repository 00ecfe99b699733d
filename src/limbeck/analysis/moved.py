"""The queries whose value changed most between two systems, with the top documents of each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.evaluation.values import Values, aligned
from limbeck.rankings import Qrels, Run

Texts = Callable[[Sequence[str]], Sequence[str]]
"""Looks texts up by id, as ``Collection.query_texts`` and ``document_texts`` do."""

_DIGITS = 12
"""Decimals to which gains are compared; smaller differences are rounding errors of means."""

# Line breaks and control characters become a space; marks that change the direction of writing, or are invisible, are
# removed. Joiners (U+200C, U+200D) are kept: Persian and emoji need them.
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_NOTHING = re.compile(r"[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Moved:
    """One query with its values under two systems."""

    query: str
    baseline: float
    system: float
    gain: float
    """system - baseline; above 0 for queries that gained, below 0 for those that lost."""
    teacher: float | None = None
    """The teacher's value, if it was given."""


def moved(
    baseline: Sequence[Values], system: Sequence[Values], count: int, teacher: Values | None = None
) -> list[Moved]:
    """Return the queries that gained most, and those that lost most.

    Parameters
    ----------
    baseline, system
        One mapping per seed, averaged.
    count
        Most queries of either kind. Queries with an unchanged value are left out, so there may be fewer.
    teacher
        The teacher's values, to be shown with them.

    Returns
    -------
    list[Moved]
        First the queries that gained, the largest gain first; then those that lost, the largest loss first. Equal gains
        are ordered by query id.

    Raises
    ------
    ValueError
        The queries differ or a value is not finite (the message names one), or ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be >= 1, got {count}")
    queries, (before, after, *taught) = aligned(baseline, system, *([[teacher]] if teacher is not None else []))
    gains = (after - before).round(_DIGITS)
    every = [
        Moved(query, float(before[i]), float(after[i]), float(gains[i]), float(taught[0][i]) if taught else None)
        for i, query in enumerate(queries)
    ]
    gained = sorted((one for one in every if one.gain > 0), key=lambda one: (-one.gain, one.query))
    lost = sorted((one for one in every if one.gain < 0), key=lambda one: (one.gain, one.query))
    return [*gained[:count], *lost[:count]]


def with_texts(
    moves: Sequence[Moved],
    query_texts: Texts,
    document_texts: Texts,
    baseline: Run,
    system: Run,
    qrels: Qrels,
    *,
    depth: int = 3,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Return queries from ``moved`` as plain rows, for JSON or a terminal.

    Parameters
    ----------
    moves
        From ``moved``.
    query_texts, document_texts
        Look texts up by id; each is called once.
    baseline, system
        Runs of the two (of one seed, if there are several).
    qrels
        Judgments.
    depth
        Documents shown of each ranking.
    limit
        Most characters of a text, including the sign that it was cut.

    Returns
    -------
    list[dict[str, Any]]
        One per query, in order: ``query``, ``text``, ``baseline``, ``system``, ``gain``, ``teacher`` (None if unknown),
        and ``baseline_top``, ``system_top``: lists of ``document``, ``grade`` (None if not judged) and ``text``. A
        query that a run lacks has an empty list.
    """
    queries = [one.query for one in moves]
    tops = [{query: run[query].ids[:depth] if query in run else [] for query in queries} for run in (baseline, system)]
    documents = sorted({document for top in tops for ids in top.values() for document in ids})
    texts = dict(zip(documents, (excerpt(text, limit) for text in document_texts(documents)), strict=True))

    def rows(query: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        grades = qrels.get(query, {})
        return [{"document": each, "grade": grades.get(each), "text": texts[each]} for each in ids]

    before, after = tops
    return [
        {
            "query": one.query,
            "text": excerpt(text, limit),
            "baseline": one.baseline,
            "system": one.system,
            "gain": one.gain,
            "teacher": one.teacher,
            "baseline_top": rows(one.query, before[one.query]),
            "system_top": rows(one.query, after[one.query]),
        }
        for one, text in zip(moves, query_texts(queries), strict=True)
    ]


def excerpt(text: str, limit: int) -> str:
    """Return a text on one line, without control characters, of at most ``limit`` characters.

    Parameters
    ----------
    text
        Any text.
    limit
        At least 1. A text that is cut ends in ``…``.
    """
    assert limit >= 1, "an excerpt has at least one character"
    line = _SPACE.sub(" ", _NOTHING.sub("", text)).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
