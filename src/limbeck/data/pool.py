"""Training pools: for each training query the documents that lists are drawn from, with label, rank and teacher score.

Two Arrow files of equal row order: ``pool.arrow`` (query_id, document_id, label, rank) and, made by a teacher,
``scores.arrow`` (query_id, document_id, score).
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.types import Qrels, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Columns of all queries one after another; query i owns rows ``offsets[i]:offsets[i + 1]``.

    Positives stand first, then the others in rank order.
    """

    query_ids: list[str]
    offsets: np.ndarray
    document_ids: pa.StringArray
    labels: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.query_ids)

    def rows(self, query: int) -> slice:
        """Return the rows of a query."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def documents(self, query: int) -> list[str]:
        """Return the documents of a query."""
        rows = self.rows(query)
        return cast(list[str], self.document_ids[rows.start : rows.stop].to_pylist())


def write_pool(path: Path, qrels: Qrels, candidates: Run, random_from: Sequence[str], random_documents: int) -> None:
    """Write ``pool.arrow``: judged positives, then the candidates, then random documents.

    A positive that the first stage did not find, and every random document, gets the rank behind the list, length + 1.
    Queries without a positive are left out and counted.

    Parameters
    ----------
    path
        File to write.
    qrels, candidates
        Judgments and first-stage rankings of the training queries.
    random_from, random_documents
        All document ids, and how many of them to add to each query, drawn by the query's id.
    """
    columns: dict[str, list] = {"query_id": [], "document_id": [], "label": [], "rank": []}
    without, absent = 0, 0
    known = set(random_from)
    for query, judged in qrels.items():
        ranking = candidates[query].ids if query in candidates else []
        rank = {document: position for position, document in enumerate(ranking, 1)}
        positives = [document for document, grade in judged.items() if grade > 0 and document in known]
        absent += sum(1 for document, grade in judged.items() if grade > 0 and document not in known)
        if not positives:
            without += 1
            continue
        behind = len(ranking) + 1
        negatives = [document for document in ranking if judged.get(document, 0) <= 0]
        negatives += _random(query, random_from, random_documents, {*ranking, *positives})
        documents = [*positives, *negatives]
        columns["query_id"] += [query] * len(documents)
        columns["document_id"] += documents
        columns["label"] += [judged[document] for document in positives] + [0] * len(negatives)
        columns["rank"] += [rank.get(document, behind) for document in documents]
    if without:
        log.warning(
            "%d of %d training queries have no positive in the collection and are left out", without, len(qrels)
        )
    if absent:
        log.warning("%d positives are judged but not in the collection", absent)
    if not columns["query_id"]:
        raise ConfigError("no training query has a positive document in the collection")
    table = pa.table(columns, schema=pa.schema(_POOL))
    _write(path, table)


_POOL = [("query_id", pa.string()), ("document_id", pa.string()), ("label", pa.int16()), ("rank", pa.int32())]


def _random(query: str, documents: Sequence[str], count: int, taken: set[str]) -> list[str]:
    if not count:
        return []
    seed = int.from_bytes(hashlib.sha256(query.encode()).digest()[:8], "little")
    drawn = np.random.default_rng(seed).choice(len(documents), min(len(documents), count + len(taken)), replace=False)
    names = [documents[int(i)] for i in drawn]
    return [name for name in names if name not in taken][:count]


def read_pool(path: Path, scores: Path | None = None) -> Pool:
    """Read ``pool.arrow`` and, if given, the ``scores.arrow`` that belongs to it.

    Raises
    ------
    ConfigError
        The scores are of other pairs, or one is NaN or infinite: the message names the pair.
    """
    table = _read(path)
    queries = table["query_id"].combine_chunks()
    starts = np.flatnonzero(np.asarray(queries[1:]) != np.asarray(queries[:-1])) + 1
    offsets = np.concatenate(([0], starts, [len(queries)]))
    return Pool(
        query_ids=[queries[int(start)].as_py() for start in offsets[:-1]],
        offsets=offsets,
        document_ids=table["document_id"].combine_chunks(),
        labels=table["label"].to_numpy(),
        ranks=table["rank"].to_numpy(),
        scores=None if scores is None else _aligned_scores(scores, table),
    )


def _aligned_scores(path: Path, pool: pa.Table) -> np.ndarray:
    table = _read(path)
    for column in ("query_id", "document_id"):
        if not table[column].equals(pool[column]):
            raise ConfigError(f"{path}: these teacher scores are not of this pool; delete the folder to make them anew")
    values = table["score"].to_numpy()
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = table.slice(int(wrong[0]), 1).to_pylist()[0]
        raise ConfigError(
            f"{path}: the teacher's score of query {row['query_id']!r}, document {row['document_id']!r} is "
            f"{row['score']} ({len(wrong)} such scores)"
        )
    return values


Scorer = Callable[[Sequence[str], Sequence[Sequence[str]]], list[np.ndarray]]


def write_scores(path: Path, pool: Pool, score: Scorer) -> None:
    """Score every pair of a pool with a teacher and write ``scores.arrow``."""
    lists = [pool.documents(i) for i in range(len(pool))]
    scored = np.concatenate(score(pool.query_ids, lists)).astype(np.float32)
    repeats = [len(documents) for documents in lists]
    queries = np.repeat(np.asarray(pool.query_ids, dtype=object), repeats)
    columns = {"query_id": pa.array(queries, pa.string()), "document_id": pool.document_ids, "score": pa.array(scored)}
    _write(path, pa.table(columns))


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
