"""Sets with the same documents, searched by a student in one pass over them: encoding these is most of the work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.collection import Collection, described
from limbeck.evaluation.ranking import Asked
from limbeck.evaluation.sets import EvalSet
from limbeck.experiment.engine import Engine
from limbeck.text.collate import Collator
from limbeck.types import Run

Fit = Callable[[EvalSet], Collator]
"""Gives a system's collator the lengths of a set."""


class OnePass:
    """What was found for a set while another one was searched.

    Parameters
    ----------
    sets
        By name, in the order in which they are evaluated.
    split
        What their queries are called in a collection.
    artefacts
        Where collections keep what they are built from.
    """

    def __init__(self, sets: Mapping[str, EvalSet], split: str, artefacts: Artefacts) -> None:
        self._sets = sets
        self._split = split
        self._artefacts = artefacts
        self._found: dict[tuple[str, str], Run] = {}

    def of(
        self, system: str, name: str, collection: Collection, length: int, fit: Fit
    ) -> Callable[[Engine, Sequence[str]], Run]:
        """Return how a system searches a set.

        Parameters
        ----------
        system, name
            Key of the system, and the set.
        collection, length
            The set's, and how many tokens of its documents the system reads.
        fit
            As :data:`Fit` says.
        """
        return partial(self._search, system, name, lambda: dict(self._mates(name, collection, length, fit)))

    def _search(
        self, system: str, name: str, mates_of: Callable[[], dict[str, Asked]], engine: Engine, queries: Sequence[str]
    ) -> Run:
        if (system, name) not in self._found:
            mates = mates_of() if engine.alone else {}
            runs = engine.search_together(queries, list(mates.values()))
            self._found |= {(system, each): run for each, run in zip((name, *mates), runs, strict=True)}
        return self._found.pop((system, name))

    def _mates(self, name: str, collection: Collection, length: int, fit: Fit) -> Iterator[tuple[str, Asked]]:
        """Yield the later sets with these documents, read at this length, with their queries."""
        own = self._sets[name]
        later = list(self._sets)[list(self._sets).index(name) + 1 :]
        for each in later:
            mate = self._sets[each]
            if (mate.collection, mate.drop_self) != (own.collection, own.drop_self):
                continue
            try:
                opened = described(mate.data(), key=f"eval.sets.{each}").open(self._artefacts)
            except ConfigError:  # the set is reported as missing when its turn comes
                continue
            fitted = fit(mate)
            if opened.content("document") == collection.content("document") and fitted.style.document_length == length:
                asks = Collator(fitted.tokenizer, fitted.style, opened.query_texts, opened.document_texts)
                yield each, Asked(asks, list(opened.split(self._split).queries))
