"""Per-query values on disk."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.evaluation.metrics import PerQuery


def write_per_query(path: Path, per_query: PerQuery) -> None:
    """Write a Parquet file with the column ``query_id`` and one column a metric."""
    path.parent.mkdir(parents=True, exist_ok=True)
    queries = list(next(iter(per_query.values())))
    columns: dict[str, list] = {"query_id": queries}
    for metric, values in per_query.items():
        columns[metric] = [values[query] for query in queries]
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(pa.table(columns), unfinished)
    os.replace(unfinished, path)


def read_per_query(path: Path, metric: str) -> dict[str, float]:
    """Read one metric of a file of :func:`write_per_query`: query id → value."""
    table = pq.read_table(path, columns=["query_id", metric])
    return dict(zip(table["query_id"].to_pylist(), table[metric].to_pylist(), strict=True))
