"""From systems to rows of the table: each stage of a pipeline writes a run file, which is evaluated."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.per_query import write_per_query
from limbeck.evaluation.ranking import check_finite
from limbeck.evaluation.runs import cut, read_run, write_run
from limbeck.evaluation.settings import Evaluation
from limbeck.rankings import Row, ties
from limbeck.types import Qrels, Run

log = logging.getLogger(__name__)


class Pipeline:
    """Runs and evaluates the stages of systems on a first stage.

    Each stage is written as ``runs/SET.KEY.trec``, where KEY is the system's key for its last stage and ``KEY.STAGE``
    for earlier ones. Metrics are computed from the file; a stage whose file exists is not computed again.

    Parameters
    ----------
    evaluation
        Settings of the evaluation.
    qrels
        Judgments of the evaluated split.
    first
        The first stage's rankings of its queries.
    first_name
        Name of the first stage in tables.
    folder
        Run folder.
    name
        Name of the set in files; None takes the split of ``evaluation``.
    metrics
        Metrics of the set; None takes those of ``evaluation``.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        qrels: Qrels,
        first: Run,
        first_name: str,
        folder: Path,
        *,
        name: str | None = None,
        metrics: Sequence[str] | None = None,
    ) -> None:
        self._evaluation = evaluation
        self._set = name or evaluation.split
        self._metrics = list(metrics or evaluation.metrics)
        self._qrels = qrels
        self._first = first
        self._first_name = first_name
        self._folder = folder

    def first_stage(self, system: str) -> Row:
        """Evaluate the first stage itself."""
        run = self._recorded("first_stage", system, lambda: self._first)
        assert run is not None
        return self._row("first_stage", system, "whole collection", run)

    def given(self, key: str, system: str, where: str, run: Run) -> Row:
        """Evaluate a ranking that is already in a file."""
        return self._row(key, system, where, run)

    def rows(
        self, key: str, system: str, *, search: Callable[[], Run] | None, rerank: Callable[[Run], Run | None]
    ) -> list[Row]:
        """Evaluate a system, one row per stage.

        Parameters
        ----------
        key
            Its name in files.
        system
            Its name in tables.
        search
            Ranks the whole collection for the evaluated queries; None for a system that cannot search and re-ranks
            instead.
        rerank
            Ranks the given candidates; returns None if the system has no scores of these queries: it then has no row.
        """
        stages = self._evaluation.stages(searches=search is not None)
        candidates = cut(self._first, self._evaluation.depth)
        rows: list[Row] = []
        where = ""
        run: Run = {}
        for number, stage in enumerate(stages, 1):
            own = key if number == len(stages) else f"{key}.{stage}"
            name = system if len(stages) == 1 else f"{system}: {stage}"
            if stage == "search":
                assert search is not None, "a system that cannot search re-ranks"
                where, make = "whole collection", search
            elif stage == "rerank":
                where, make = f"{self._first_name} top {self._evaluation.depth}", partial(rerank, candidates)
            else:
                fusion = self._evaluation.fusion
                where, make = f"{where}, {fusion.label} with {self._first_name}", partial(fusion, candidates, run)
            recorded = self._recorded(own, name, make)
            if recorded is None:
                break
            run = recorded
            rows.append(self._row(own, name, where, run))
        return rows

    def _recorded(self, key: str, system: str, make: Callable[[], Run | None]) -> Run | None:
        """Return the run in the stage's file, computed and written first if it is missing; None if there is no run."""
        path = self._folder / "runs" / f"{self._set}.{key}.trec"
        if not path.exists():
            start = time.perf_counter()
            run = make()
            if run is None:
                return None
            check_finite(run)
            write_run(path, run, f"limbeck-{key}")
            seconds, tied = time.perf_counter() - start, sum(map(ties, run.values()))
            log.info("%s ranked %d queries: %.1f s, %s ties", system, len(run), seconds, f"{tied:,}")
        return read_run(path)

    def _row(self, key: str, system: str, candidates: str, run: Run) -> Row:
        per_query = evaluate(self._qrels, run, self._metrics)
        write_per_query(self._folder / "per_query" / f"{self._set}.{key}.parquet", per_query)
        ranked = sum(1 for query in self._qrels if query in run and run[query].ids)
        if ranked < len(self._qrels):
            lacking = len(self._qrels) - ranked
            log.info("%s: %d of %d judged queries have no result and count as 0", system, lacking, len(self._qrels))
        row = {"key": key, "system": system, "candidates": candidates, "queries": len(self._qrels), "ranked": ranked}
        return row | means(per_query)
