"""Protocols of teachers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from limbeck.plan import Plan
from limbeck.scores.kinds import Kind

Lists = Mapping[str, Sequence[str]]
"""Query id → document ids."""


class Pair(NamedTuple):
    """Ids of a query and a document, with a score."""

    query: str
    document: str
    score: float


class Teacher(Protocol):
    """Scores documents for queries."""

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores: one array per query, in the order of its list.

        Parameters
        ----------
        query_ids
            Ids of B queries.
        lists
            Document ids of each query.
        """
        ...


class ScoringTeacher(Teacher, Protocol):
    """A teacher that can score any pair of a collection, in parts."""

    def plan(self, lists: Lists, size: int) -> Plan:
        """Split the scoring of lists into parts.

        Parameters
        ----------
        lists
            Query id → document ids.
        size
            Maximum number of pairs of a part.
        """
        ...

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return the function from the number of a part of the plan to its float32 scores."""
        ...


class NamedTeacher(ScoringTeacher, Protocol):
    """A scoring teacher that is not one of limbeck's rankers, and describes itself what its scores depend on."""

    @property
    def name(self) -> str:
        """Name of the system that computes the scores."""
        ...

    @property
    def number(self) -> Kind:
        """Kind of number that a score is."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return everything that the scores depend on, except the collection."""
        ...


@runtime_checkable
class ChangingTeacher(ScoringTeacher, Protocol):
    """A scoring teacher on a server, which may change without notice, as there is no checksum of its weights."""

    def check_same(self, known: Sequence[Pair]) -> None:
        """Score one or more known pairs again; raise ``ConfigError`` if their scores have changed."""
        ...


CHECKED = 20
"""Number of known pairs that are scored again before new ones."""
