"""Search sets with the same documents in one pass over them: encoding the documents is most of the work.

The split that a run is evaluated on goes first, if it has these documents too.
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
"""Returns a system's collator with the lengths of a set."""


class OnePass:
    """Results for sets that were found while another set was searched; kept in files until they are needed.

    Parameters
    ----------
    sets
        Sets by name, in the order in which they are evaluated.
    split
        Name of the evaluated split in a set's collection.
    artefacts
        The cache of collections.
    folder
        Folder of the files.
    """

    def __init__(self, sets: Mapping[str, EvalSet], split: str, artefacts: Artefacts, folder: Path) -> None:
        self._sets = sets
        self._split = split
        self._artefacts = artefacts
        self._folder = folder

    def of(
        self, system: str, name: str, collection: Collection, length: int, fit: Fit
    ) -> Callable[[Engine, Sequence[str]], Run]:
        """Return the function by which a system searches a set.

        Parameters
        ----------
        system
            Key of the system.
        name
            Name of the set.
        collection
            The set's collection.
        length
            Number of tokens of a document that the system reads.
        fit
            See ``Fit``.
        """
        later = list(self._sets)[list(self._sets).index(name) + 1 :]
        place = self._sets[name].collection
        return partial(self._search, system, name, partial(self._mates, later, place, collection, length, fit))

    def before(
        self, system: str, place: str, collection: Collection, length: int, fit: Fit
    ) -> Callable[[Engine, Sequence[str]], Run]:
        """Return the function by which a system searches a split that is no set, before all sets.

        Parameters
        ----------
        system, collection, length, fit
            As ``of`` takes them.
        place
            The collection's name in the configuration.
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
        # The checksum, because a student that was saved with merged adapters loads with other weights.
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
        """Yield the sets among ``names`` with the documents of a collection, read at this length, and their queries."""
        for each in names:
            mate = self._sets[each]
            if (mate.collection, mate.drop_self) != (place, collection.drop_self):
                continue
            try:
                opened = described(mate.data(), key=f"eval.sets.{each}").open(self._artefacts)
            except ConfigError:  # this set is reported as missing when its turn comes
                continue
            fitted = fit(mate)
            if opened.content("document") == collection.content("document") and fitted.style.document_length == length:
                asks = Collator(fitted.tokenizer, fitted.style, opened.query_texts, opened.document_texts)
                yield each, Other(Asked(asks, list(opened.split(self._split).queries)), mate.data())
