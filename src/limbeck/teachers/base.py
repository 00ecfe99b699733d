"""What teachers are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from limbeck.plan import Plan
from limbeck.scores.kinds import Kind

Lists = Mapping[str, Sequence[str]]
"""Query id → document ids."""


class Pair(NamedTuple):
    """A query and a document by id, with a score."""

    query: str
    document: str
    score: float


class Teacher(Protocol):
    """Knows how relevant documents are to queries."""

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores, one array a query, in the order of its list.

        Parameters
        ----------
        query_ids
            Ids of B queries.
        lists
            For each of them the ids of its documents.
        """
        ...


class ScoringTeacher(Teacher, Protocol):
    """A teacher that can score any pair of a collection, part by part."""

    def plan(self, lists: Lists, size: int) -> Plan:
        """Cut the scoring of lists into parts.

        Parameters
        ----------
        lists
            Query id → ids of its documents.
        size
            Pairs of a part, at most.
        """
        ...

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return what scores a part of the plan: called with its number, it returns float32 scores."""
        ...


class NamedTeacher(ScoringTeacher, Protocol):
    """A scoring teacher that is no ranker of ours: it says itself what its scores depend on."""

    @property
    def name(self) -> str:
        """Name of the system that the scores come from."""
        ...

    @property
    def number(self) -> Kind:
        """What kind of number a score is."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what the scores depend on beside the collection."""
        ...


@runtime_checkable
class ChangingTeacher(ScoringTeacher, Protocol):
    """A scoring teacher that computes elsewhere and may change unseen: there is no checksum of its weights."""

    def check_same(self, known: Sequence[Pair]) -> None:
        """Score pairs again whose scores are known, one or more; raise ``ConfigError`` if these have changed."""
        ...


CHECKED = 20
"""Pairs that are scored again before more are."""
