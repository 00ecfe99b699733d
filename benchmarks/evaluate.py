"""Evaluating a run at the size of MS MARCO's dev queries: ours beside trec_eval's two Python interfaces.

``python benchmarks/evaluate.py`` writes a TREC run of 6,980 queries × 1,000 documents into a temporary folder. Each
program is a process of its own that imports what it needs, reads the file and computes mrr@10, recall@1000 and ndcg@10;
they take turns, round after round, so that a busy machine slows all alike. The ratio is the median of the ratios within
a round. ``--check`` fails where ours takes longer than the limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.processes import end_with_parent, naming_this

LIMIT = 6.0
"""Seconds that import, reading and evaluation may take, on two cores."""

Timed = dict[str, Any]
"""``import``, ``read`` and ``evaluate`` in seconds, ``cpu`` of all threads together, ``mean`` by metric."""


def generate(run: Path, qrels: Path, queries: int, documents: int) -> None:
    """Write a run with a few ties a query, and judgments like MS MARCO's: about one relevant document a query."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(1)
    ids = rng.choice(1_100_000, queries, replace=False)
    space = csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    with run.open("wb") as file, qrels.open("w", encoding="utf-8") as judged:
        for query in ids.tolist():
            found = rng.choice(8_841_823, documents, replace=False)
            scores = np.sort(8 + rng.gamma(2.0, 2.5, documents))[::-1].round(4)
            ranks = np.arange(1, documents + 1)
            columns = [np.full(documents, query), np.full(documents, "Q0"), found, ranks, scores.astype(str)]
            table = {str(number): pa.array(column) for number, column in enumerate(columns)}
            csv.write_csv(pa.table({**table, "tag": pa.array(["bench"] * documents)}), file, space)
            # Log-uniform: most relevant documents stand high; every eighth is missed.
            places = {int(documents ** rng.random()) - 1 for _ in range(1 + int(rng.random() < 0.07))}
            relevant = found[sorted(places)] if rng.random() < 7 / 8 else [8_900_000 + query]
            judged.writelines(f"{query} 0 {document} 1\n" for document in relevant)


def ours(run: Path, qrels: Path) -> Timed:
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # as the program does
    start = time.perf_counter()
    import ranx  # noqa: F401 - imported by the evaluation; here, so that it counts as import

    from limbeck.evaluation.metrics import evaluate, means
    from limbeck.evaluation.qrels import read_qrels
    from limbeck.evaluation.runs import read_run

    imported = time.perf_counter()
    rankings, judged = read_run(run), read_qrels(qrels)
    read = time.perf_counter()
    mean = means(evaluate(judged, rankings, ["mrr@10", "recall@1000", "ndcg@10"]))
    return _timed(start, imported, read, mean)


def pytrec_eval(run: Path, qrels: Path) -> Timed:
    start = time.perf_counter()
    import pytrec_eval

    imported = time.perf_counter()
    with run.open(encoding="utf-8") as file:
        rankings = pytrec_eval.parse_run(file)
    with qrels.open(encoding="utf-8") as file:
        judged = pytrec_eval.parse_qrel(file)
    read = time.perf_counter()
    names = {"mrr@10": "recip_rank", "recall@1000": "recall_1000", "ndcg@10": "ndcg_cut_10"}
    found = pytrec_eval.RelevanceEvaluator(judged, set(names.values())).evaluate(rankings)
    # trec_eval's reciprocal rank has no cut-off: what is beyond rank 10 counts as 0.
    values = {name: [of[theirs] for of in found.values()] for name, theirs in names.items()}
    values["mrr@10"] = [value if value > 1 / 10.5 else 0.0 for value in values["mrr@10"]]
    mean = {name: sum(each) / len(judged) for name, each in values.items()}
    return _timed(start, imported, read, mean)


def ir_measures(run: Path, qrels: Path) -> Timed:
    start = time.perf_counter()
    import ir_measures
    from ir_measures import RR, R, nDCG

    imported = time.perf_counter()
    rankings, judged = list(ir_measures.read_trec_run(str(run))), list(ir_measures.read_trec_qrels(str(qrels)))
    read = time.perf_counter()
    names = {RR @ 10: "mrr@10", R @ 1000: "recall@1000", nDCG @ 10: "ndcg@10"}
    found = ir_measures.calc_aggregate(list(names), judged, rankings)
    return _timed(start, imported, read, {name: found[measure] for measure, name in names.items()})


PROGRAMS: dict[str, Callable[[Path, Path], Timed]] = {
    "limbeck": ours,
    "pytrec_eval": pytrec_eval,
    "ir_measures": ir_measures,
}


def _timed(start: float, imported: float, read: float, mean: dict[str, float]) -> Timed:
    end = time.perf_counter()
    seconds = {"import": imported - start, "read": read - imported, "evaluate": end - read}
    return {**seconds, "cpu": time.process_time(), "mean": mean}


def measured(name: str, run: Path, qrels: Path) -> Timed:
    """Run a program in a process of its own; ``total`` is the process from start to end."""
    command = [sys.executable, __file__, "--worker", name, str(run), str(qrels)]
    start = time.perf_counter()
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | naming_this()
    ).stdout
    return {**json.loads(printed), "total": time.perf_counter() - start}


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=6_980)
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        name, run, qrels = asked.worker
        print(json.dumps(PROGRAMS[name](Path(run), Path(qrels))))
        return
    with tempfile.TemporaryDirectory() as folder:
        run, qrels = Path(folder) / "run.trec", Path(folder) / "qrels.txt"
        generate(run, qrels, asked.queries, asked.documents)
        print(f"{asked.queries:,} queries × {asked.documents:,} documents, {run.stat().st_size / 1e6:,.0f} MB\n")
        measured("limbeck", run, qrels)  # warms the file cache
        rounds = [{name: measured(name, run, qrels) for name in PROGRAMS} for _ in range(asked.rounds)]
    print(
        "| program | import s | read s | evaluate s | total s | CPU s | total / limbeck | mrr@10 recall@1000 ndcg@10 |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for name in PROGRAMS:
        columns = ("import", "read", "evaluate", "total", "cpu")
        values = [statistics.median(each[name][column] for each in rounds) for column in columns]
        values.append(statistics.median(each[name]["total"] / each["limbeck"]["total"] for each in rounds))
        means = " ".join(f"{value:.6f}" for value in rounds[0][name]["mean"].values())
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} | {means} |")
    total = statistics.median(each["limbeck"]["total"] for each in rounds)
    if asked.check and total > LIMIT:
        raise SystemExit(f"not kept: {total:.1f} s in all, at most {LIMIT} s")


if __name__ == "__main__":
    main()
