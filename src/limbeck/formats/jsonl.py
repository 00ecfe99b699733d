"""Base of formats with one JSON value per line: a query with its scored documents."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.base import Thunk, finite, identifiers
from limbeck.formats.faults import Faults
from limbeck.formats.files import SMALL_BLOCK, Chunk, chunks
from limbeck.formats.judging import Judging
from limbeck.scores.parts import Block

Id = str | int


class ScoredList(NamedTuple):
    """One query with its documents and their scores, and which of the documents the line calls relevant."""

    query: Id
    documents: Sequence[Id]
    scores: Sequence[float]
    positives: Sequence[Id] = ()
    grade: int = 1
    """Grade of the positives."""


class JsonLines(Judging):
    """A format with one scored list per line. Positives, if lines name them, are written to ``qrels.tsv`` in the store.

    Scores are stored as float32: no model computes in higher precision.
    """

    @abstractmethod
    def scored(self, value: Any) -> ScoredList:
        """Read the JSON value of a line.

        Raises
        ------
        ValueError
            It is malformed. ``KeyError`` and ``TypeError`` may be raised for values of another structure.
        """

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks."""
        self._positives.clear()
        for position, chunk in enumerate(chunks(paths, SMALL_BLOCK)):
            yield partial(self.block, position, chunk, faults)

    def block(self, position: int, chunk: Chunk, faults: Faults) -> Block:
        """Parse a chunk; ``position`` is its number among all chunks."""
        queries: list[Id] = []
        documents: list[Id] = []
        scores: list[float] = []
        positives: list[tuple[str, str, int]] = []
        for line, text in chunk.lines():
            try:
                found = _checked(self.scored(_value(text)))
            except ConfigError:  # the file is wrong, not only this line
                raise
            except (ValueError, TypeError, KeyError) as error:
                faults.add(chunk.path, line, _problem(error), text=text, expects=self.expects)
                continue
            queries += [found.query] * len(found.documents)
            documents += found.documents
            scores += found.scores
            positives += [(str(found.query), str(document), found.grade) for document in found.positives]
        self._positives[position] = positives
        return Block(identifiers(queries), identifiers(documents), np.array(scores, dtype=np.float32))


def listed(value: Mapping[str, Any], name: str) -> list[Any]:
    """Return the list under a key.

    Raises
    ------
    ValueError
        The key is missing, or its value is no list.
    """
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    if not isinstance(value.get(name), list):
        raise ValueError(f"has no list {name!r}")
    return value[name]


def _value(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))  # given bytes, json would accept half of a character
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _checked(found: ScoredList) -> ScoredList:
    if len(found.documents) != len(found.scores):
        raise ValueError(f"has {len(found.documents)} documents, but {len(found.scores)} scores")
    if not found.documents:
        raise ValueError("has no documents")
    if not set(map(type, (found.query, *found.documents))) <= {str, int}:
        wrong = next(each for each in (found.query, *found.documents) if type(each) not in (str, int))
        raise ValueError(f"{wrong!r} is no id")
    if "" in (found.query, *found.documents):
        raise ValueError("has an empty id")
    if not set(map(type, found.scores)) <= {float, int}:
        wrong = next(each for each in found.scores if type(each) not in (float, int))
        raise ValueError(f"{wrong!r} is no score")
    if not finite(found.scores):
        raise ValueError("has a score that is no finite number")
    return found


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has no {error.args[0]!r}"
    if isinstance(error, TypeError):
        return "is built in another way"
    return str(error)
