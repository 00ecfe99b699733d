"""Splits as artefacts: half a million queries take seconds to parse, but no time to map."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from limbeck.artefacts import Artefacts
from limbeck.data.columns import Judgments, Texts
from limbeck.data.splits import Split

_QUERIES, _JUDGMENTS = "queries.arrow", "judgments.arrow"


def kept(artefacts: Artefacts, inputs: Mapping[str, Any], read: Callable[[], Split]) -> Split:
    """Return a split from the cache; it is parsed if it is missing there.

    Parameters
    ----------
    artefacts
        The cache.
    inputs
        Everything the split depends on.
    read
        Parses the split.
    """
    return _load(artefacts.folder("splits", inputs, lambda folder: _write(folder, read())))


def _write(folder: Path, split: Split) -> None:
    queries, judged = split.queries, split.qrels
    lengths = pa.array(judged.lengths, pa.int64())
    _table(folder / _QUERIES, {"id": queries.ids, "text": queries.texts, "judged": lengths}, lacking=split.lacking)
    _table(folder / _JUDGMENTS, {"document": judged.documents, "grade": judged.grades})


def _load(folder: Path) -> Split:
    queries, judgments = _mapped(folder / _QUERIES), _mapped(folder / _JUDGMENTS)
    texts = Texts(queries.column("id"), queries.column("text"))
    judged = Judgments(
        texts, queries.column("judged").to_numpy(), judgments.column("document"), judgments.column("grade")
    )
    return Split(texts, judged, int(queries.schema.metadata[b"lacking"]))


def _table(path: Path, columns: Mapping[str, Any], **metadata: int) -> None:
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata({name: str(value) for name, value in metadata.items()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _mapped(path: Path) -> Any:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.get_batch(0)
