"""What a larger problem costs: more lists, more candidates, longer texts, a larger corpus, a larger score store.

``python benchmarks/scale.py`` measures each at several sizes in processes of their own, and prints tables in Markdown.
The exponent of a cost is the slope of a straight line through its logarithms: 1 where twice the size costs twice as
much. ``--check`` fails where a cost grows faster than stated, or memory with the corpus or the store. At the
end stands a projection to MS MARCO on GPUs, its assumptions written down (``projection.py``).
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import projection
import store

import search
from limbeck.processes import end_with_parent

Row = dict[str, object]

EXPONENTS = {
    "opening a pool, by lists": 1.15,
    "drawing the lists of an epoch, by lists": 1.15,
    "a training step, by candidates": 1.15,
    "a training step, by length": 1.35,
    "encoding, by documents": 1.15,
    "looking lists up, by pairs in the store": 0.35,
}
"""What each may be at most. That by length is above 1, as attention compares all tokens of a text with one another; a
larger store has longer queries and fewer of its pages in the processor's cache."""
GROWTH = search.GROWTH
"""What memory at the largest corpus or store may be of that at the smallest."""
DEPTH = 32
"""Documents of a query's pool."""
WIDTH = 256
"""Of the model whose steps are measured, a transformer of one layer."""
DRAWN = 4096
"""Lists whose drawing is timed at each size; a smaller pool is drawn from in several epochs."""
LOOKED_UP = 4000
"""Lists that are looked up in a store of each size."""


def own_memory() -> float:
    """Return what this process holds beside mapped files, in MB."""
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux: all that it has ever held
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    lines = dict(line.split(":") for line in status.read_text(encoding="utf-8").splitlines())
    return int(lines["RssAnon"].split()[0]) / 1000


def make_pool(path: Path, lists: int) -> None:
    """Write a pool with teacher scores, of ids like those of MS MARCO."""
    import pyarrow as pa

    from limbeck.data.aligned import write_aligned
    from limbeck.data.pool import Pool, write_pool

    rng = np.random.default_rng(1)
    documents = pa.array(rng.integers(0, projection.PASSAGES, lists * DEPTH)).cast(pa.string())
    labels = np.tile(np.arange(DEPTH) == 0, lists).astype(np.int16)
    ranks = np.tile(np.arange(1, DEPTH + 1, dtype=np.int32), lists)
    queries = [str(number) for number in range(1, lists + 1)]
    write_pool(path / "pool.arrow", Pool(queries, np.arange(lists + 1) * DEPTH, documents, labels, ranks))
    write_aligned(path / "scores.arrow", rng.normal(size=lists * DEPTH))


def lists_of(path: Path, lists: int, rounds: int) -> Row:
    """Open a pool and draw from it."""
    from dataclasses import replace

    from limbeck.data.aligned import read_aligned
    from limbeck.data.pool import read_pool
    from limbeck.data.sampling import Lists, ListSampler, Order

    def opened() -> Lists:
        pool = replace(read_pool(path / "pool.arrow"), scores=read_aligned(path / "scores.arrow"))
        return Lists(pool, ListSampler(negatives=7, batch_size=32), 1)

    opened()  # the files are read from the disk once
    before = own_memory()
    opening = [timed(opened) for _ in range(rounds)]
    drawn, order = opened(), list(Order(lists, DRAWN // 32, 32, 1))
    drawing = [timed(lambda: [drawn.__getitems__(batch) for batch in order]) for _ in range(rounds)]
    return {
        "lists": lists,
        "opening, ms": 1000 * statistics.median(opening),
        "drawing, µs a list": 1e6 * statistics.median(drawing) / (32 * len(order)),
        "memory of its own, MB": own_memory() - before,
    }


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def steps(shapes: Sequence[tuple[int, int, int]], rounds: int) -> list[float]:
    """Return the seconds of a step (forward, loss, backward, update) of each shape: queries, candidates, tokens."""
    import torch
    from transformers import BertConfig, BertModel

    from limbeck.losses.kl import kl
    from limbeck.students.dense import Dense
    from limbeck.types import Batch, Tokens

    torch.manual_seed(1)
    longest = max(length for *_, length in shapes)
    config = BertConfig(
        vocab_size=2000,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=longest,
    )
    student = Dense(lambda task: BertModel(config, add_pooling_layer=False)).train()
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4)

    def tokens(texts: int, length: int) -> Tokens:
        real = torch.ones(texts, length, dtype=torch.long)
        return Tokens(torch.randint(5, 2000, (texts, length)), real, lengths=[length] * texts)

    def step(queries: int, candidates: int, length: int) -> Callable[[], None]:
        count, mask = queries * candidates, torch.ones(queries, candidates, dtype=torch.bool)
        index, teacher = torch.arange(count).view(queries, candidates), torch.randn(queries, candidates)
        batch = Batch(tokens(queries, 8), tokens(count, length), index, mask, torch.zeros_like(teacher), teacher)

        def call() -> None:
            optimiser.zero_grad()
            kl(student(batch).scores, teacher, batch.labels, mask).mean().backward()
            optimiser.step()

        return call

    calls = [step(*shape) for shape in shapes]
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, taken in zip(calls, seconds, strict=True):
            taken.append(timed(call))
    return [statistics.median(taken[1:]) for taken in seconds]  # the first warms up


def step_rows(shapes: Sequence[tuple[int, int, int]], rounds: int) -> list[Row]:
    rows: list[Row] = []
    for (queries, candidates, length), seconds in zip(shapes, search.apart(steps, shapes, rounds), strict=True):
        tokens = queries * (candidates * length + 8)
        row: Row = {"candidates": candidates, "length": length, "tokens": tokens, "step, ms": 1000 * seconds}
        row |= {"tokens/s": tokens / seconds, "GFLOP/s as 6 P tokens": 6e-9 * 12 * WIDTH**2 * tokens / seconds}
        rows.append(row)
    return rows


def corpora(root: Path, sizes: Sequence[int]) -> list[Row]:
    """Encode and search collections with ``limbeck index`` and ``limbeck search``."""
    rows: list[Row] = []
    folders = [root / f"corpus{documents}" for documents in sizes]
    for documents, folder in zip(sizes, folders, strict=True):
        search.generate(folder / "data", documents)
    made = search.apart(search.model, folders[0])
    for documents, folder in zip(sizes, folders, strict=True):
        data = [f"data.collection={folder / 'data'}", "data.train=null", "data.dev=null", "data=collection"]
        kept = [f"paths.cache={folder / 'cache'}", "accelerator=cpu"]
        model = ["student=dense", "backbone=pretrained", f"backbone.model={made}"]
        index = ["index", *data, *model, *kept, "backend=exact", "shard_size=4096", f"out={folder / 'index'}"]
        printed, encoding = search.limbeck(*index)
        run = ["search", f"index={folder / 'index'}", f"out={folder / 'run.trec'}", "depth=100", *kept]
        told_of_search, searching = search.limbeck(*run)
        rows.append(
            {
                "documents": documents,
                "encoding, documents/s": search.number(r"([\d.]+) documents/s", printed),
                "encoding, peak MB": encoding,
                "search, ms a query": search.number(r"a query alone: ([\d.]+) ms", told_of_search),
                "search, peak MB": searching,
            }
        )
    return rows


def stores(root: Path, sizes: Sequence[int], rounds: int) -> list[Row]:
    """Import scores and look lists of 64 up, each size in a process of its own."""
    rows: list[Row] = []
    for lines in sizes:
        source, path = root / f"{lines}.tsv", root / f"store{lines}"
        store.generate(source, lines)
        store.imported(source, path)
        source.unlink()
        rows.append(search.apart(looked_up, path, rounds))
    return rows


def looked_up(path: Path, rounds: int) -> Row:
    from limbeck.scores.store import ScoreStore

    lists = store.lists_of(ScoreStore.open(path), LOOKED_UP)
    opening = [timed(lambda: ScoreStore.open(path)) for _ in range(rounds)]
    found = ScoreStore.open(path)
    rates = [store.lookups(found, lists) for _ in range(rounds)]
    return {
        "pairs": len(found),
        "on disk, MB": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6,
        "opening, ms": 1000 * statistics.median(opening),
        "lists/s": statistics.median(rates),
        "memory of its own, MB": own_memory(),
    }


def exponent(rows: list[Row], size: str, cost: Callable[[Row], float]) -> float:
    """Return the slope of the logarithm of a cost over that of the size; NaN if there is but one size."""
    if len(rows) < 2:
        return float("nan")
    across = np.log([float(str(row[size])) for row in rows])
    return float(np.polyfit(across, np.log([cost(row) for row in rows]), 1)[0])


def value(name: str) -> Callable[[Row], float]:
    return lambda row: float(str(row[name]))


def grown(rows: list[Row], name: str) -> float:
    """Return the memory at the largest size over that at the smallest."""
    return value(name)(rows[-1]) / value(name)(rows[0])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {
        "lists": [1_000, 10_000, 100_000],
        "candidates": [8, 16, 32, 64],
        "lengths": [32, 64, 128, 256, 512],
        "documents": [10_000, 30_000, 100_000],
        "pairs": [1_000_000, 3_000_000, 10_000_000],
    }
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=int, nargs="+", default=usual)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    projection.arguments(parser)
    return parser.parse_args()


def main() -> None:
    end_with_parent()
    asked = arguments()
    with tempfile.TemporaryDirectory() as name:
        root, lists = Path(name), []
        for count in asked.lists:
            folder = root / f"lists{count}"
            folder.mkdir()
            make_pool(folder, count)
            lists.append(search.apart(lists_of, folder, count, asked.rounds))
        show(f"Lists (pools of {DEPTH} documents a query, 8 drawn)", lists)
        shapes = [(4, count, 32) for count in asked.candidates] + [(2, 8, length) for length in asked.lengths]
        measured = step_rows(shapes, asked.rounds)
        candidates, lengths = measured[: len(asked.candidates)], measured[len(asked.candidates) :]
        show("Candidates (4 queries, 32 tokens a document)", candidates)
        show("Length (2 queries, 8 candidates)", lengths)
        corpus = corpora(root, asked.documents)
        show("Corpus (a tiny dense student, exact search of 40 queries)", corpus)
        scores = stores(root, asked.pairs, asked.rounds)
        show("Score store (lists of 64 looked up)", scores)
    found = {
        "opening a pool, by lists": exponent(lists, "lists", value("opening, ms")),
        "drawing the lists of an epoch, by lists": 1 + exponent(lists, "lists", value("drawing, µs a list")),
        "a training step, by candidates": exponent(candidates, "tokens", value("step, ms")),
        "a training step, by length": exponent(lengths, "tokens", value("step, ms")),
        "encoding, by documents": 1 - exponent(corpus, "documents", value("encoding, documents/s")),
        "looking lists up, by pairs in the store": -exponent(scores, "pairs", value("lists/s")),
    }
    memory = {
        "encoding": grown(corpus, "encoding, peak MB"),
        "exact search": grown(corpus, "search, peak MB"),
        "lookups in a store": grown(scores, "memory of its own, MB"),
    }
    print("\n### Exponents\n\n| cost | exponent | at most |\n|---|---:|---:|")
    for cost, slope in found.items():
        print(f"| {cost} | {slope:.2f} | {EXPONENTS[cost]} |")
    print("\n### Memory, largest over smallest\n\n| of | ratio | at most |\n|---|---:|---:|")
    for of, ratio in memory.items():
        print(f"| {of} | {ratio:.2f} | {GROWTH} |")
    print("\n" + projection.project(projection.Assumptions(asked.peak, asked.utilisation, asked.efficiency)))
    broken = [f"{cost}: exponent {slope:.2f}" for cost, slope in found.items() if slope > EXPONENTS[cost]]
    broken += [f"memory of {of}: {ratio:.2f} times" for of, ratio in memory.items() if ratio > GROWTH]
    if asked.check and broken:
        sys.exit(f"not kept: {'; '.join(broken)}")


def show(title: str, rows: list[Row]) -> None:
    print(f"\n### {title}\n")
    search.show(rows)


if __name__ == "__main__":
    main()
