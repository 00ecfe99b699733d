"""Read and write per-query values."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.evaluation.metrics import PerQuery
from limbeck.unfinished import whole_file


def write_per_query(path: Path, per_query: PerQuery) -> None:
    """Write a Parquet file with the column ``query_id`` and one column per metric."""
    queries = list(next(iter(per_query.values())))
    columns: dict[str, list] = {"query_id": queries}
    for metric, values in per_query.items():
        columns[metric] = [values[query] for query in queries]
    with whole_file(path) as unfinished:
        pq.write_table(pa.table(columns), unfinished)


def read_per_query(path: Path, metric: str) -> dict[str, float]:
    """Read one metric from a file of ``write_per_query``: query id → value."""
    table = pq.read_table(path, columns=["query_id", metric])
    return dict(zip(table["query_id"].to_pylist(), table[metric].to_pylist(), strict=True))


def side_by_side(folder: Path) -> dict[str, pa.Table]:
    """Read the first metric of all systems in a run folder's ``per_query``.

    Returns
    -------
    dict
        Set → table: ``query_id``, and ``KEY METRIC`` for each system, in the order of the file names.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(folder.glob("*.parquet")):
        name, _, key = path.stem.partition(".")
        metric = next(each for each in pq.read_schema(path).names if each != "query_id")
        found.setdefault(name, {})[f"{key} {metric}"] = read_per_query(path, metric)
    tables = {}
    for name, columns in found.items():
        queries = list(next(iter(columns.values())))
        values = {column: [of.get(query) for query in queries] for column, of in columns.items()}
        tables[name] = pa.table({"query_id": queries, **values})
    return tables
