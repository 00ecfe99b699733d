"""Splits as artefacts: half a million queries take seconds to parse, and less than one to map."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.artefacts import Artefacts
from limbeck.data.splits import Split
from limbeck.evaluation.runs import no_collection
from limbeck.scores.keys import ID

_QUERIES, _JUDGMENTS = "queries.arrow", "judgments.arrow"


def kept(artefacts: Artefacts, inputs: Mapping[str, Any], read: Callable[[], Split]) -> Split:
    """Return a split from the cache; it is read first if it is not there.

    Parameters
    ----------
    artefacts
        The cache.
    inputs
        All that it depends on.
    read
        Reads it.
    """
    return _load(artefacts.folder("splits", inputs, lambda folder: _write(folder, read())))


def _write(folder: Path, split: Split) -> None:
    judged = list(split.qrels.values())
    _table(
        folder / _QUERIES,
        {
            "id": pa.array(list(split.queries), type=ID),
            "text": pa.array(list(split.queries.values()), type=ID),
            "judged": pa.array(list(map(len, judged)), type=pa.int64()),
        },
        lacking=split.lacking,
    )
    _table(
        folder / _JUDGMENTS,
        {
            "document": pa.array([document for grades in judged for document in grades], type=ID),
            "grade": pa.array([grade for grades in judged for grade in grades.values()], type=pa.int64()),
        },
    )


def _load(folder: Path) -> Split:
    queries, judgments = _mapped(folder / _QUERIES), _mapped(folder / _JUDGMENTS)
    ids, texts, documents, grades = (
        table.column(name).to_numpy(zero_copy_only=False).tolist()
        for table, name in ((queries, "id"), (queries, "text"), (judgments, "document"), (judgments, "grade"))
    )
    bounds = np.cumsum([0, *queries.column("judged").to_pylist()]).tolist()
    with no_collection():
        qrels = {
            query: dict(zip(documents[start:end], grades[start:end], strict=True))
            for query, (start, end) in zip(ids, pairwise(bounds), strict=True)
        }
    return Split(dict(zip(ids, texts, strict=True)), qrels, int(queries.schema.metadata[b"lacking"]))


def _table(path: Path, columns: Mapping[str, pa.Array], **metadata: int) -> None:
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata({name: str(value) for name, value in metadata.items()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _mapped(path: Path) -> Any:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.get_batch(0)
