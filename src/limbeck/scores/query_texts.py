"""Hashes of the texts of a score store's queries, to detect queries that have changed since they were scored.

Adding queries to a collection leaves the scores of others valid; a query whose text has changed must be scored again.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.scores.keys import ID
from limbeck.unfinished import whole_file

Texts = Callable[[Sequence[str]], list[str]]
"""Function from query ids to texts."""

_FILE = "query_texts.arrow"


def changed(store: Path, queries: Sequence[str], texts: Texts) -> list[str]:
    """Return the queries whose text has changed since they were scored; queries that the store lacks do not count."""
    known = _read(store)
    asked = [query for query in queries if query in known] if known else []
    return [query for query, text in zip(asked, texts(asked), strict=True) if known[query] != _hash(text)]


def record(store: Path, queries: Sequence[str], texts: Texts) -> None:
    """Record the texts of queries before they are scored."""
    known = _read(store)
    new = [query for query in queries if query not in known]
    if not new:
        return
    known |= zip(new, map(_hash, texts(new)), strict=True)
    hashes = np.fromiter(known.values(), np.uint64, len(known))
    batch = pa.record_batch({"query": pa.array(list(known), ID), "text": pa.array(hashes)})
    with (
        whole_file(store / _FILE) as unfinished,
        pa.OSFile(str(unfinished), "wb") as file,
        pa.ipc.new_file(file, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _read(store: Path) -> dict[str, int]:
    if not (store / _FILE).exists():
        return {}
    with pa.memory_map(str(store / _FILE)) as file, pa.ipc.open_file(file) as reader:
        table = reader.read_all()
    return dict(zip(table["query"].to_pylist(), table["text"].to_pylist(), strict=True))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
