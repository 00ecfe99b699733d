"""neural-ranking-kd: ``pos_score neg_score qid pos_pid neg_pid``, separated by tabs; two scored pairs per line.

https://github.com/sebastian-hofstaetter/neural-ranking-kd and https://zenodo.org/records/4068216, 40 million lines.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from limbeck.formats.base import MOST, Format, Thunk, number
from limbeck.formats.faults import Faults
from limbeck.formats.files import BLOCK, Chunk, chunks
from limbeck.registry import register
from limbeck.scores.keys import LARGEST, pc
from limbeck.scores.parts import Block

_NAMES = ["pos_score", "neg_score", "qid", "pos_pid", "neg_pid"]
_SCORES, _IDS = _NAMES[:2], _NAMES[2:]
_STEP = 1 << 18
_FRACTION = r"^-?[0-9]+\.[0-9]+$"


@register("format", "neural_ranking_kd")
class NeuralRankingKD(Format):
    """Scores of the BERT-CAT ensemble (T2) or of one of its models (T1), for MarginMSE on MS MARCO."""

    teacher = "neural-ranking-kd BERT-CAT ensemble"
    kind = "logit"
    published = ("bert_cat_ensemble",)
    expects = "pos_score neg_score qid pos_pid neg_pid, five columns separated by tabs"

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks."""
        for chunk in chunks(paths, BLOCK):
            yield partial(self._block, chunk, faults)

    def _block(self, chunk: Chunk, faults: Faults) -> Block:
        # Some blocks may have integer ids and others strings: to the store, "7" and 7 are one id, and "007" is another.
        columns = _numbers(chunk.data) or _strings(chunk.data) or self._slow(chunk, faults)
        positive, negative, query, *documents = columns
        scores = np.empty(2 * len(positive), dtype=np.float32)
        scores[0::2], scores[1::2] = positive, negative
        return Block(_twice(query), _interleaved(*documents), scores)

    def _slow(self, chunk: Chunk, faults: Faults) -> list[Any]:
        """Parse line by line, and record malformed lines."""
        rows = []
        for line, text in chunk.lines():
            try:
                rows.append(_row(text.decode("utf-8")))
            except ValueError as error:
                faults.add(chunk.path, line, str(error), text=text, expects=self.expects)
        columns = list(zip(*rows, strict=True)) if rows else [()] * 5
        scores = [np.array(column, dtype=np.float32) for column in columns[:2]]
        return [*scores, *(pa.array(column, pa.string()) for column in columns[2:])]


def _numbers(data: bytes) -> list[Any] | None:
    """Parse lines in which all ids are canonical decimal numbers; None for other lines."""
    # The parser would read " 7", "007" and "0x7" as 7.
    if b" " in data or _leading_zero(data):
        return None
    table = _parsed(data, pa.int64())
    if table is None:
        return None
    columns = [table[name].to_numpy() for name in _NAMES]
    if any(len(ids) and (ids.min() < 0 or ids.max() >= LARGEST) for ids in columns[2:]):
        return None
    return columns


def _leading_zero(data: bytes) -> bool:
    """Return whether a column after the first begins with a zero that digits (or an x) follow."""
    every = np.frombuffer(data, np.uint8)
    for start in range(0, len(every), _STEP):  # in steps that fit the processor's cache
        part = every[start : start + _STEP + 2]
        # The separators are the only bytes up to 13; only digits and letters are above 47.
        if ((part[:-2] <= 13) & (part[1:-1] == ord("0")) & (part[2:] > 47)).any():
            return True
    return False


def _strings(data: bytes) -> list[Any] | None:
    """Parse lines with ids of any kind; None if a line is malformed."""
    table = _parsed(data, pa.string())
    if table is None:
        return None
    ids = [table[name].combine_chunks() for name in _IDS]
    for column in ids:
        if pc.any(pc.match_substring_regex(column, _FRACTION)).as_py() or not pc.min(pc.binary_length(column)).as_py():
            return None
    return [*(table[name].to_numpy() for name in _SCORES), *ids]


def _parsed(data: bytes, ids: pa.DataType) -> pa.Table | None:
    if b"\r" in data:  # the parser would read a lone carriage return as a line break
        data = data.replace(b"\r\n", b"\n")
        if b"\r" in data:
            return None
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False, column_names=_NAMES),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(_SCORES, pa.float32()) | dict.fromkeys(_IDS, ids), null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return None
    finite = all(np.isfinite(table[name].to_numpy()).all() for name in _SCORES)
    return table if finite and len(table) else None


def _row(text: str) -> tuple[float, float, str, str, str]:
    columns = text.split("\t")
    if len(columns) != 5:
        raise ValueError(f"has {len(columns)} column{'s' * (len(columns) != 1)} separated by tabs")
    for name, value in zip(_IDS, columns[2:], strict=True):
        if not value or "\r" in value:
            raise ValueError(f"{value!r} is no id ({name})")
        if pc.match_substring_regex(pa.scalar(value), _FRACTION).as_py():
            raise ValueError(f"{value!r} is where {name} belongs, and looks like a score")
    positive, negative = map(number, columns[:2])
    if abs(positive) > MOST or abs(negative) > MOST:
        raise ValueError("has a score that is too large")
    return positive, negative, columns[2], columns[3], columns[4]


def _twice(ids: Any) -> Any:
    if isinstance(ids, np.ndarray):
        return np.repeat(ids, 2)
    return ids.take(pa.array(np.repeat(np.arange(len(ids)), 2)))


def _interleaved(one: Any, other: Any) -> Any:
    if isinstance(one, np.ndarray):
        result: NDArray[np.int64] = np.empty(2 * len(one), dtype=np.int64)
        result[0::2], result[1::2] = one, other
        return result
    both = pa.concat_arrays([one, other])
    return both.take(pa.array(np.arange(len(both)).reshape(2, -1).T.ravel()))
