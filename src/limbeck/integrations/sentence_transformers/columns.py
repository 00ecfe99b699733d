"""Converts a dataset's columns to those that the trainers of sentence-transformers read.

The trainers' collators accept one label column; all other columns are texts. So teacher scores, grades and ranks are
packed into one column, ``label``, with a row for each of ``NUMBERS``; missing columns and padding are NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

NUMBERS = ("scores", "labels", "ranks")
"""Rows of a packed label column, in this order; each has one number per document."""

Format = Literal["columns", "lists"]


@dataclass(frozen=True)
class ListColumns:
    """Transform of batches of rows, for ``Dataset.set_transform`` or ``Dataset.map`` with ``batched=True``.

    The first text column is the query. The other text columns are its documents: one column of lists, or one column per
    document. Number columns hold lists with one number per document, in the order of the documents.

    Parameters
    ----------
    output_format
        ``columns``, for bi-encoders: a list of documents becomes columns ``document_1``, ``document_2``, …; shorter
        lists are padded with empty texts, which losses ignore. ``lists``, for cross-encoders: lists stay lists.
    scores
        Name of the column with the teacher's scores; the column may be missing.
    labels
        Name of the column with relevance grades (> 0 is a positive); the column may be missing.
    ranks
        Name of the column with 1-based ranks of the documents in the first stage or by the initial student; the column
        may be missing.

    Raises
    ------
    ValueError
        When called: a needed column is missing, a column has numbers under an unknown name, or its lists have another
        length than the documents; a number is missing, NaN or infinite.

    Examples
    --------
    >>> rows = {"query": ["cats"], "documents": [["cats purr", "dogs bark"]], "scores": [[8.0, 1.0]]}
    >>> ListColumns()(rows | {"ranks": [[2, 1]]})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'query': ['cats'], 'document_1': ['cats purr'], 'document_2': ['dogs bark'],
     'label': [[[8.0, 1.0], [nan, nan], [2.0, 1.0]]]}
    """

    output_format: Format = "columns"
    scores: str = "scores"
    labels: str = "labels"
    ranks: str = "ranks"

    def __post_init__(self) -> None:
        if self.output_format not in get_args(Format):
            raise ValueError(f"output_format must be columns or lists, got {self.output_format!r}")

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns of a batch in the trainers' format."""
        named = {kind: getattr(self, kind) for kind in NUMBERS}
        texts = {name: list(rows) for name, rows in batch.items() if name not in named.values()}
        self._check_texts(texts, list(batch))
        query, *others = texts
        listed = len(others) == 1 and _is_list(texts[others[0]][0])
        documents = texts[others[0]] if listed else list(zip(*(texts[name] for name in others), strict=True))
        lengths = [len(each) for each in documents]
        spread = listed and self.output_format == "columns"
        width = max(lengths) if spread else None
        numbers = {kind: _numbers(name, batch.get(name), lengths) for kind, name in named.items()}
        if all(rows is None for rows in numbers.values()):
            raise ValueError(
                f"the data have no column {', '.join(named.values())}; there are {', '.join(batch)}: "
                "give the name, for example ListColumns(scores='teacher')"
            )
        if spread:
            columns = {f"document_{place + 1}": [_at(row, place) for row in documents] for place in range(max(lengths))}
            texts = {query: texts[query], **columns}
        return {**texts, "label": _packed(numbers, lengths, width)}

    def _check_texts(self, texts: Mapping[str, list[Any]], names: list[str]) -> None:
        for name, rows in texts.items():
            first = rows[0][0] if _is_list(rows[0]) and len(rows[0]) else rows[0]
            if isinstance(first, int | float):
                raise ValueError(
                    f"column {name!r} holds numbers, not texts: declare it (scores={name!r}, labels={name!r} "
                    f"or ranks={name!r} of ListColumns), or remove it"
                )
        if len(texts) < 2:
            raise ValueError(f"a query and its documents are needed, got the columns {', '.join(names)}")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _at(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _numbers(name: str, rows: Sequence[Any] | None, lengths: list[int]) -> list[list[float]] | None:
    """Return a column of numbers; None if it is missing.

    Raises
    ------
    ValueError
        A row has another length than the documents, or a value is not a finite number.
    """
    if rows is None:
        return None
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if not hasattr(row, "__len__") or len(row) != length:
            got = len(row) if hasattr(row, "__len__") else "no list"
            raise ValueError(f"row {place} of the batch has {length} documents, its column {name!r} has {got}")
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in row):
            raise ValueError(f"row {place} of the batch: column {name!r} must hold finite numbers, got {list(row)}")
    return [[float(each) for each in row] for row in rows]


def _packed(
    numbers: Mapping[str, list[list[float]] | None], lengths: list[int], width: int | None
) -> list[list[list[float]]]:
    """Return the rows of numbers of each query, padded with NaN to a width."""
    packed = []
    for query, length in enumerate(lengths):
        rows = [[math.nan] * length if column is None else column[query] for column in numbers.values()]
        packed.append([row + [math.nan] * ((width or length) - length) for row in rows])
    return packed
