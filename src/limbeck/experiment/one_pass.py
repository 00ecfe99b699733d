"""Sets with the same documents, searched by a student in one pass over them: encoding these is most of the work."""

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
        return partial(self._search, system, name, lambda: dict(self._mates(name, collection, length, fit)))

    def _search(
        self, system: str, name: str, mates_of: Callable[[], dict[str, Other]], engine: Engine, queries: Sequence[str]
    ) -> Run:
        if self._file(system, name).exists():
            return read_run(self._file(system, name))
        mates = mates_of()
        own, *others = engine.search_together(queries, list(mates.values()))
        for mate, run in zip(mates, others, strict=True):
            check_finite(run)
            write_run(self._file(system, mate), run, "limbeck")
        return own

    def _file(self, system: str, name: str) -> Path:
        return self._folder / f"{name}.{system}.trec"

    def _mates(self, name: str, collection: Collection, length: int, fit: Fit) -> Iterator[tuple[str, Other]]:
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
                yield each, Other(Asked(asks, list(opened.split(self._split).queries)), mate.data())
