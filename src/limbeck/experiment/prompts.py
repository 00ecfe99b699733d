"""Show the prompts of a teacher: what it reads for a pair, where the document is cut, and what it answers."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from limbeck.config import Config, ConfigError
from limbeck.screen import console
from limbeck.teachers.base import Lists, ScoringTeacher
from limbeck.teachers.language_model.judge import Judge

_SHOWN = 20
"""Number of pairs shown where no limit is given."""


def look(teacher: ScoringTeacher, lists: Lists, limit: int | None) -> Config:
    """Print the prompts of the first pairs, their tokens around the cut and at the end, and the logits.

    Parameters
    ----------
    teacher
        A language model.
    lists
        Query id → document ids.
    limit
        Number of pairs; None shows 20.

    Returns
    -------
    dict
        The printed prompts under ``prompts``, one mapping per pair.

    Raises
    ------
    ConfigError
        The teacher has no prompts.
    """
    if not isinstance(teacher, Judge):
        raise ConfigError("show=true prints prompts, which teacher=causal_lm and teacher=seq2seq have; leave it out")
    screen, found = console(soft_wrap=True), []
    for query, document in islice(pairs(lists), _SHOWN if limit is None else limit):
        each = teacher.look(query, document)
        screen.print("\n".join(_lines(each)), markup=False, highlight=False)
        found.append(each)
    return {"teacher": teacher.name, "prompt": teacher.prompt.label, "prompts": found}


def pairs(lists: Lists) -> Iterator[tuple[str, str]]:
    """Yield the (query, document) pairs of lists."""
    return ((query, document) for query, documents in lists.items() for document in documents)


def first(lists: Lists, limit: int) -> dict[str, list[str]]:
    """Return lists with the first ``limit`` pairs only."""
    kept: dict[str, list[str]] = {}
    for query, document in islice(pairs(lists), limit):
        kept.setdefault(query, []).append(document)
    return kept


def _lines(each: Mapping[str, Any]) -> Iterator[str]:
    yield f"── query {each['query']}, document {each['document']}: {each['tokens']} tokens"
    yield each["prompt"]
    cut = f"{each['cut']} tokens of the document are cut here" if each["cut"] else "nothing is cut"
    yield f"── where the document ends   {_pieces(each['document_end'])} | {_pieces(each['behind'])}   {cut}"
    yield f"── what the answer follows   {_pieces(each['end'])}"
    logits = ", ".join(f"{piece!r} {logit:.4f}" for piece, logit in each["answers"].items())
    yield f"── logits                    {logits}; score {each['score']:.4f}\n"


def _pieces(pieces: list[str]) -> str:
    return " ".join(map(repr, pieces)) or "nothing"
