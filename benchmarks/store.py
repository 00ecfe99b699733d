"""The score store at the size of MS MARCO: import, opening, lookup, memory shared between processes.

``python benchmarks/store.py`` writes a file of 20 million lines in the neural-ranking-kd format into a temporary
folder, imports it with the command that users give, and prints one table; ``--check`` fails where a limit is not kept.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from limbeck.processes import end_with_parent, naming_this
from limbeck.scores.store import ScoreStore

LIMITS = {
    "import, lines/s": 1_500_000,
    "import, peak memory in MB": 2_000,
    "opening, ms": 100,
    "lists of 64 looked up in a second": 5_000,
    "memory of two workers over one": 1.5,
}
MOST = {"import, peak memory in MB", "opening, ms", "memory of two workers over one"}
"""Those of which less is better."""


def generate(path: Path, lines: int) -> None:
    """Write lines like neural-ranking-kd's: a query's positive comes again and again, with the same score."""
    rng = np.random.default_rng(1)

    def score(query: np.ndarray, document: np.ndarray) -> np.ndarray:
        return ((query * 2654435761 + document * 40503) % 200003) / 10000 - 10

    options = csv.WriteOptions(include_header=False, delimiter="\t")
    with path.open("wb") as file:
        for start in range(0, lines, 1_000_000):
            size = min(1_000_000, lines - start)
            query = rng.integers(1, 400_000, size)
            positive, negative = query * 7 % 8_841_823, rng.integers(0, 8_841_823, size)
            columns = [score(query, positive).round(6), score(query, negative).round(6), query, positive, negative]
            csv.write_csv(pa.table(dict(zip("abcde", columns, strict=True))), file, options)


def imported(source: Path, store: Path) -> tuple[float, float]:
    """Import in a process of its own; returns seconds and its peak memory in MB."""
    command = [sys.executable, "-m", "limbeck", "import", "format=neural_ranking_kd", f"path={source}", f"out={store}"]
    command.append("teacher.name=made")
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | naming_this())
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def lists_of(store: ScoreStore, count: int) -> list[tuple[str, list[str]]]:
    """Return queries, each with 64 documents, some of which the store does not have."""
    rng = np.random.default_rng(2)
    queries = rng.choice(np.array(store.query_ids()), count, replace=False)
    made = []
    for query in queries.tolist():
        known = store.ranking(query)[0][:48]
        made.append((query, known + [str(number) for number in rng.integers(0, 8_841_823, 64 - len(known))]))
    return made


def lookups(store: ScoreStore, lists: list[tuple[str, list[str]]]) -> float:
    start = time.perf_counter()
    for query, documents in lists:
        store.lookup(query, documents)
    return len(lists) / (time.perf_counter() - start)


def mapped(path: Path) -> float:
    """Return this process's part of the memory that the store's files take, in MB; shared pages count in part."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, *values = line.split()
        if "-" in name and not name.endswith(":"):
            inside = str(path) in line
        elif inside and name == "Pss:":
            total += int(values[0])
    return total / 1000


def worker(path: Path) -> None:
    """Read the whole store, wait until the others have too, and tell the memory."""
    store = ScoreStore.open(path)
    store.verify()
    print("read", flush=True)
    sys.stdin.readline()
    print(mapped(path), flush=True)
    sys.stdin.readline()


def memory(path: Path, workers: int) -> float:
    """Return what the store takes in so many processes that have all read it, in MB."""
    command = [sys.executable, __file__, "--worker", str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes, env=os.environ | naming_this()) for _ in range(workers)]

    def answers() -> list[str]:
        lines = []
        for process in started:
            assert process.stdout is not None
            lines.append(process.stdout.readline())
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return lines

    answers()
    total = sum(map(float, answers()))
    for process in started:
        process.wait()
    return total


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000_000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "kd.tsv", Path(folder) / "store"
        generate(source, asked.lines)
        seconds, peak = imported(source, path)
        start = time.perf_counter()
        store = ScoreStore.open(path)
        opening = time.perf_counter() - start
        lists = lists_of(store, 5_000)
        rates = [lookups(store, lists) for _ in range(5)]
        one, two = memory(path, 1), memory(path, 2)
        size = sum(file.stat().st_size for file in path.rglob("*")) / 1e6
        measured = {
            "import, lines/s": asked.lines / seconds,
            "import, peak memory in MB": peak,
            "opening, ms": opening * 1000,
            "lists of 64 looked up in a second": statistics.median(rates),
            "memory of two workers over one": two / one,
        }
        print(f"{asked.lines:,} lines, {source.stat().st_size / 1e6:,.0f} MB, imported in {seconds:.1f} s")
        print(f"store: {len(store):,} pairs, {size:,.0f} MB; in memory {one:,.0f} MB\n")
        print("| what | measured | limit |\n|---|---:|---:|")
        for name, value in measured.items():
            print(f"| {name} | {value:,.4g} | {'at most' if name in MOST else 'at least'} {LIMITS[name]:,} |")
        broken = [n for n, v in measured.items() if (v > LIMITS[n] if n in MOST else v < LIMITS[n])]
        if asked.check and broken:
            raise SystemExit(f"not kept: {', '.join(broken)}")


if __name__ == "__main__":
    main()
