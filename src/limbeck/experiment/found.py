"""What a search has found: written as a TREC run, some queries after the others, and evaluated meanwhile."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.runs import write_runs
from limbeck.progress import Step
from limbeck.rankings import Qrels, Run, ties

log = logging.getLogger(__name__)


def write(
    found: Iterable[tuple[list[str], Run]], out: Path, qrels: Qrels, metrics: Sequence[str], count: int
) -> dict[str, float]:
    """Write a run and return its metrics, averaged over the judged queries.

    Parameters
    ----------
    found
        Some queries after the others, with what was found for them.
    out
        The file.
    qrels
        Judgments of the split; a query without documents counts 0.
    metrics
        Their names.
    count
        Of all queries, for the progress.
    """
    tied, documents = 0, 0
    values: dict[str, dict[str, float]] = {name: {} for name in metrics}

    def seen() -> Iterator[Run]:
        nonlocal tied, documents
        for queries, run in found:
            step.begin(len(queries))
            tied += sum(map(ties, run.values()))
            documents += sum(len(ranking.ids) for ranking in run.values())
            judged = {query: qrels[query] for query in queries if query in qrels}
            for name, each in (evaluate(judged, run, metrics) if judged else {}).items():
                values[name].update(each)
            yield run
            step.advance(len(queries))

    with Step(f"writing {out}", count, "queries") as step:
        write_runs(out, seen(), "limbeck")
    log.info("%s: %s of %s documents have the score of the one before them", out, f"{tied:,}", f"{documents:,}")
    return means({name: {query: values[name][query] for query in qrels} for name in metrics})
