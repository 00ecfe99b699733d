"""Write the results of a search as a TREC run, block by block, and evaluate them on the way."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from limbeck.evaluation.metrics import evaluate
from limbeck.evaluation.runs import write_runs
from limbeck.progress import Step
from limbeck.rankings import Qrels, Run, ties

log = logging.getLogger(__name__)

_QUERIES = 2000
"""Number of queries evaluated at once."""

_EVALUATING = 2
"""Progress steps of an evaluation; writing is one more."""


def write(
    found: Iterable[tuple[list[str], Run]], out: Path, qrels: Qrels, metrics: Sequence[str], count: int
) -> dict[str, float]:
    """Write a run, and return its metrics averaged over the judged queries.

    Parameters
    ----------
    found
        Blocks of queries with their rankings: all queries of the judgments, in their order.
    out
        The file.
    qrels
        Judgments of the split; a query without retrieved documents counts 0.
    metrics
        Names of the metrics.
    count
        Number of all queries, for the progress bar.
    """
    tied, documents = 0, 0
    values: dict[str, list[np.ndarray]] = {name: [] for name in metrics}

    def seen() -> Iterator[Run]:
        nonlocal tied, documents
        for queries, run in found:
            step.begin(len(queries), parts=1 + _EVALUATING * -(-len(queries) // _QUERIES))
            tied += sum(map(ties, run.values()))
            documents += sum(len(ranking.ids) for ranking in run.values())
            for start in range(0, len(queries), _QUERIES):
                some = queries[start : start + _QUERIES]
                judged = {query: qrels[query] for query in some if query in qrels}
                for name, each in (evaluate(judged, run, metrics) if judged else {}).items():
                    values[name].append(np.fromiter(each.values(), np.float64, len(each)))
            yield run
            step.advance(len(queries))

    with Step(f"writing {out}", count, "queries") as step:
        write_runs(out, seen(), "limbeck")
    log.info("%s: %s of %s documents have the score of the one before them", out, f"{tied:,}", f"{documents:,}")
    return {name: float(np.mean(np.concatenate(values[name]))) for name in metrics}
