"""TREC run files."""

import io
import math
import os
from pathlib import Path
from typing import Literal

import numpy as np

from limbeck.formats.files import opened
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


def read_run(path: Path, *, use: Literal["scores", "ranks"] = "scores") -> Run:
    """Read a TREC run file, compressed or not.

    Parameters
    ----------
    path
        The file.
    use
        What gives the order: ``scores``, as in trec_eval, ties by document id; or ``ranks``, for permutations whose
        scores are another system's. Then the scores of the run are the negative ranks.

    Raises
    ------
    ValueError
        A line has not six columns or no finite number for a score (or rank), or a document stands twice: file and
        line are named.
    """
    lists: dict[str, dict[str, float]] = {}
    with io.TextIOWrapper(opened(path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            columns = line.split()
            if not columns:
                continue
            try:
                query, _, document, rank, score, _ = columns
                value = float(score) if use == "scores" else -float(int(rank))
                if not math.isfinite(value):
                    raise ValueError
            except ValueError:
                what = "a finite score in the fifth" if use == "scores" else "a whole rank in the fourth"
                raise ValueError(f"{path}:{number}: expected six columns with {what}") from None
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
