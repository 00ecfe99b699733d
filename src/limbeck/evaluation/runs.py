"""TREC run files."""

import math
import os
from pathlib import Path

import numpy as np

from limbeck.types import Ranking, Run, order


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write ``query Q0 document rank score tag`` lines, ranks from 1; the file is whole or not there.

    Scores are written with nine significant digits, which give back the same float32.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for query, ranking in run.items():
            for rank, (document, score) in enumerate(zip(ranking.ids, ranking.scores.tolist(), strict=True), 1):
                file.write(f"{query} Q0 {document} {rank} {score:.9g} {tag}\n")
    os.replace(unfinished, path)


def read_run(path: Path) -> Run:
    """Read a TREC run file; the order is trec_eval's, by score and document id, not by the rank column.

    Raises
    ------
    ValueError
        A line has not six columns or no finite number for a score, or a document stands twice: file and line are named.
    """
    lists: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            columns = line.split()
            if not columns:
                continue
            try:
                query, _, document, _, score, _ = columns
                value = float(score)
                if not math.isfinite(value):
                    raise ValueError
            except ValueError:
                raise ValueError(f"{path}:{number}: expected six columns with a finite score in the fifth") from None
            documents = lists.setdefault(query, {})
            if document in documents:
                raise ValueError(f"{path}:{number}: document {document} stands twice for query {query}")
            documents[document] = value
    return {
        query: order(list(documents), np.fromiter(documents.values(), np.float32, len(documents)))
        for query, documents in lists.items()
    }


def cut(run: Run, depth: int) -> Run:
    """Keep the best ``depth`` documents of each query."""
    return {query: Ranking(ranking.ids[:depth], ranking.scores[:depth]) for query, ranking in run.items()}
