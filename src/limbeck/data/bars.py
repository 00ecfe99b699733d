"""Show ir_datasets's progress bars, of downloads and document stores, as limbeck's progress lines.

ir_datasets draws them with tqdm, which fills a log file with one endless line.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Self

from limbeck.progress import Step, reported

_BLOCK = 1 << 20
"""Bytes of a download between two updates."""


class Bar:
    """Replaces ``tqdm.tqdm`` in ir_datasets, as far as ir_datasets uses it.

    Parameters
    ----------
    items
        Items to iterate over; None where ``update`` counts.
    desc, unit
        Label, and name of a unit.
    total
        Number of units.
    options
        tqdm's drawing options, ignored.
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        desc: str = "",
        total: int | None = None,
        unit: str = "it",
        **options: Any,
    ) -> None:
        del options
        self._items = items
        self._named = (
            ("document store", "documents") if desc == "docs_iter" else (desc, unit if unit == "B" else f"{unit}s")
        )
        self._total = total
        self._step: Step | None = None
        self.n = self._shown = 0

    def __iter__(self) -> Iterator[Any]:
        assert self._items is not None
        label, unit = self._named
        return reported(self._items, self._total, label, unit)

    def __enter__(self) -> Self:
        label, unit = self._named
        self._step = Step(label, self._total, unit)
        self._step.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._step is not None:
            self._step.advance(self.n - self._shown)
            self._step.__exit__(*error)

    def update(self, count: int = 1) -> None:
        """Count finished units."""
        self.n += count
        if self._step is not None and self.n - self._shown >= _BLOCK:
            self._step.advance(self.n - self._shown)
            self._shown = self.n

    @staticmethod
    def write(text: str, file: Any = None) -> None:
        """Write a line of ir_datasets's log."""
        print(text, file=file or sys.stderr)

    def __str__(self) -> str:
        return f"{self._named[0]}: {self.n:,}"


class _Module:
    tqdm = Bar


def quiet(ir_datasets: Any) -> None:
    """Give ir_datasets limbeck's progress bars, and limit its log to errors: limbeck reports failed downloads."""
    ir_datasets.lazy_libs._cache["tqdm"] = _Module
    ir_datasets.log.easy().logger().setLevel(logging.ERROR)
