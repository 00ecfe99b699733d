"""Judgments in a file of scores; they are written to the store's folder."""

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.formats.base import Format

Judgments = Mapping[tuple[str, str], int]
"""(query, document) → grade, > 0."""


class Judging(Format, ABC):
    """A format whose lines may name relevant documents, which are written to ``qrels.tsv`` in the store."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self._positives: dict[int, list[tuple[str, str, int]]] = {}
        """Number of a block → its positives; several threads parse blocks."""

    def judgments(self) -> Judgments:
        """Return the grades of the pairs that the lines call relevant, in order.

        Raises
        ------
        ConfigError
            A pair has two different grades.
        """
        found: dict[tuple[str, str], int] = {}
        for position in sorted(self._positives):
            for query, document, grade in self._positives[position]:
                if found.setdefault((query, document), grade) != grade:
                    raise ConfigError(
                        f"query {query!r}, document {document!r} is labelled {found[query, document]} in one line and "
                        f"{grade} in another; leave one of them out"
                    )
        return found

    def finish(self) -> dict[str, Any]:
        """Write ``qrels.tsv``; return the number of positives."""
        judgments = self.judgments()
        if not judgments:
            return {}
        write_qrels(self.store / "qrels.tsv", judgments)
        return {"positives": len(judgments)}


def write_qrels(path: Path, judgments: Judgments) -> None:
    """Write judgments in the layout of a BEIR folder."""
    with path.open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{query}\t{document}\t{grade}\n" for (query, document), grade in judgments.items())
