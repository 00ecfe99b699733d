"""Sets with the same documents, searched by a student in one pass over them: encoding these is most of the work.

The split that a run is evaluated on by itself goes first, if it has these documents too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.collection import Collection
from limbeck.data.opening import described
from limbeck.evaluation.ranking import Asked, check_finite
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.sets import EvalSet
from limbeck.experiment.engine import Engine, Other
from limbeck.text.collate import Collator
from limbeck.types import Run

Fit = Callable[[EvalSet], Collator]
"""Gives a system's collator the lengths of a set."""


class OnePass:
    """What was found for a set while another one was searched, in files until that set's turn comes.

    Parameters
    ----------
    sets
        By name, in the order in which they are evaluated.
    split
        What their queries are called in a collection.
    artefacts
        Where collections keep what they are built from.
    folder
        Where the files are.
    """

    def __init__(self, sets: Mapping[str, EvalSet], split: str, artefacts: Artefacts, folder: Path) -> None:
        self._sets = sets
        self._split = split
        self._artefacts = artefacts
        self._folder = folder

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
            As ``Fit`` says.
        """
        later = list(self._sets)[list(self._sets).index(name) + 1 :]
        place = self._sets[name].collection
        return partial(self._search, system, name, partial(self._mates, later, place, collection, length, fit))

    def before(
        self, system: str, place: str, collection: Collection, length: int, fit: Fit
    ) -> Callable[[Engine, Sequence[str]], Run]:
        """Return how a system searches what is no set itself, before all sets.

        Parameters
        ----------
        system, collection, length, fit
            As ``of`` takes them.
        place
            How the configuration names the collection.
        """
        return partial(
            self._search, system, None, partial(self._mates, list(self._sets), place, collection, length, fit)
        )

    def _search(
        self,
        system: str,
        name: str | None,
        mates_of: Callable[[], Iterator[tuple[str, Other]]],
        engine: Engine,
        queries: Sequence[str],
    ) -> Run:
        # A student that was saved and loaded has other weights if its adapters were merged.
        files = self._folder / f"{system}.{engine.ranker.checksum()}"
        if name is not None and (files / f"{name}.trec").exists():
            return read_run(files / f"{name}.trec")
        mates = dict(mates_of())
        own, *others = engine.search_together(queries, list(mates.values()))
        for mate, run in zip(mates, others, strict=True):
            check_finite(run)
            write_run(files / f"{mate}.trec", run, "limbeck")
        return own

    def _mates(
        self, names: Sequence[str], place: str, collection: Collection, length: int, fit: Fit
    ) -> Iterator[tuple[str, Other]]:
        """Yield those of some sets that have the documents of a collection, read at this length, with their queries."""
        for each in names:
            mate = self._sets[each]
            if (mate.collection, mate.drop_self) != (place, collection.drop_self):
                continue
            try:
                opened = described(mate.data(), key=f"eval.sets.{each}").open(self._artefacts)
            except ConfigError:  # the set is reported as missing when its turn comes
                continue
            fitted = fit(mate)
            if opened.content("document") == collection.content("document") and fitted.style.document_length == length:
                asks = Collator(fitted.tokenizer, fitted.style, opened.query_texts, opened.document_texts)
                yield each, Other(Asked(asks, list(opened.split(self._split).queries)), mate.data())
