"""What steps of MS MARCO's size cost: each measured at two sizes here, and projected by the slope between them.

``python benchmarks/full_size.py`` draws documents and queries of about the lengths of MS MARCO's and encodings like
those of trained students, and prints for each step the processor time on one core, the exponent by its size, the
projection to 8,841,823 passages and 502,939 training queries, and the ratio beside what one would take instead: bm25s
alone, faiss flat, the matrix products alone, a loop over pairs. ``--memory`` measures the peak memory of mining and
search by 10,000 to 100,000 queries instead. Search of sparse weights beside SciPy, and re-ranking: ``pairs.py``.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pairs
import scale
import torch
from projection import PASSAGES

import search
from limbeck.processes import end_with_parent, naming_this

QUERIES, DEV = 502_939, 6_980
WORDS = 40_000
LENGTH, ASKED = 56, 6
"""Words of a passage and of a query."""
SPARSE_DEPTH = 20
"""Documents that a sparse student finds for a training query."""


class Step(NamedTuple):
    """A step at two sizes."""

    name: str
    sizes: tuple[float, float]
    seconds: tuple[float, float]
    full: float
    """Size at MS MARCO."""
    limit: str
    beside: str = ""
    ratio: float | None = None
    """Time of the other over ours, at the larger size."""

    def row(self) -> str:
        """Return a line of the table."""
        exponent = math.log(self.seconds[1] / self.seconds[0]) / math.log(self.sizes[1] / self.sizes[0])
        projected = self.seconds[1] * (self.full / self.sizes[1]) ** max(exponent, 1.0 if self.ratio else 0.0)
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        size = f"{self.sizes[0]:,.0f} / {self.sizes[1]:,.0f}"
        took = f"{self.seconds[0]:.3g} / {self.seconds[1]:.3g}"
        cells = (self.name, size, took, f"{exponent:.2f}", told(projected), self.limit, self.beside, ratio)
        return f"| {' | '.join(cells)} |"


def told(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def texts(count: int, length: int, seed: int) -> list[str]:
    """Draw texts of words by Zipf's law."""
    rng = np.random.default_rng(seed)
    chance = np.cumsum(1 / (np.arange(WORDS) + 30))  # without the stop words
    names = np.array([f"w{number:x}z" for number in range(WORDS)])
    return [" ".join(names[np.searchsorted(chance / chance[-1], rng.random(length))]) for _ in range(count)]


def bm25(sizes: tuple[int, int], queries: int) -> list[Step]:
    """Index and search by BM25, ours and bm25s."""
    from limbeck.evaluation import postings

    postings._compiled()
    asked = split(texts(queries, ASKED, 2))
    small, large = (by_bm25(texts(size, LENGTH, 1), asked, beside=size == sizes[1]) for size in sizes)
    index, search = (tuple(each[which] for each in (small, large)) for which in (0, 1))
    counts = queries * sizes[0], queries * sizes[1]
    return [
        Step("BM25 index, documents", sizes, index, PASSAGES, "", "bm25s", large[2] / large[0]),
        Step("BM25 search, pairs", counts, search, QUERIES * PASSAGES, "1.5 h", "bm25s", large[3] / large[1]),
    ]


def by_bm25(documents: list[str], asked: list[list[str]], *, beside: bool) -> tuple[float, float, float, float]:
    """Return our seconds for indexing and for searching, and those of bm25s if they are asked for."""
    import bm25s

    from limbeck.data import bm25_index

    blocks = [documents[start : start + 10_000] for start in range(0, len(documents), 10_000)]
    with tempfile.TemporaryDirectory() as folder:
        index, indexing = pairs.timed(
            lambda: bm25_index.build(blocks, split, Path(folder), k1=0.9, b=0.4, total=len(documents), label="")
        )

    def ours() -> list[Any]:
        return [each for block in bm25_index.search(index, asked, 100) for each in block]

    found, searching = ours(), pairs.timed(ours)[1]
    if not beside:
        return indexing, searching, 0.0, 0.0
    theirs, few = bm25s.BM25(k1=0.9, b=0.4, method="lucene"), asked[: len(asked) // 10]
    _, built = pairs.timed(lambda: theirs.index(split(documents), show_progress=False))
    (_, scores), retrieved = pairs.timed(lambda: theirs.retrieve(few, k=100, show_progress=False, n_threads=1))
    for line, (_, values) in zip(scores, found, strict=False):
        best = np.sort(values)[::-1][:100]
        np.testing.assert_allclose(best, line[: len(best)], rtol=1e-5)
    return indexing, searching, built, retrieved * len(asked) / len(few)


def split(texts: Sequence[str]) -> list[list[str]]:
    return [text.split() for text in texts]


def dense(sizes: tuple[int, int], queries: int, depth: int, name: str, full: float, limit: str) -> list[Step]:
    """Search vectors of 128, ours, faiss flat, and the products alone."""
    small, large = (by_products(size, queries, depth, beside=size == sizes[1]) for size in sizes)
    counts, seconds = (queries * sizes[0], queries * sizes[1]), (small[0], large[0])
    step = Step(f"{name}, depth {depth}, pairs", counts, seconds, full, limit, "faiss flat", large[1] / large[0])
    return [step, step._replace(beside="products alone", ratio=large[2] / large[0])]


def by_products(documents: int, queries: int, depth: int, *, beside: bool) -> tuple[float, float, float]:
    """Return our seconds, and those of faiss flat and of the products alone if they are asked for."""
    from limbeck.evaluation.best import Best
    from limbeck.search.exact import Exact
    from limbeck.similarity import dot

    rng = np.random.default_rng(1)
    ranker: Any = SimpleNamespace(scale=1.0, similarity=dot)
    with tempfile.TemporaryDirectory() as folder:
        store, asked = pairs.filled("dense", documents, Path(folder), rng), pairs.encode("dense", queries, "query", rng)

        def ours() -> Any:
            best = Best(queries, depth, store.names)
            Exact().search(ranker, asked, store, Path(folder), best, range(len(store)))
            return list(best.rankings())

        ours()  # the files are read from the disk once
        seconds = pairs.timed(ours)[1]
        if not beside:
            return seconds, 0.0, 0.0
        shards = [shard.rows.float().arrays()["values"] for shard in store.shards()]
        values = asked.arrays()["values"]
        alone = pairs.timed(lambda: [values @ shard.T for shard in shards])[1]
        return seconds, flat(torch.cat(shards).numpy(), values.numpy(), depth), alone


def flat(vectors: np.ndarray, queries: np.ndarray, depth: int) -> float:
    """Return faiss's seconds for the same; NaN where it is not installed."""
    try:
        import faiss
    except ImportError:
        return math.nan
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return pairs.timed(lambda: index.search(queries, depth))[1]  # pyright: ignore[reportCallIssue]


def sparse(documents: int, sizes: tuple[int, int]) -> Step:
    """Search sparse weights by inverted lists, and by SciPy, by the number of queries.

    Lists are read once for all queries, so that few would pay much for them. The first documents are all among the
    best: the second half is measured, and counts twice.
    """
    from limbeck.evaluation import postings

    postings._compiled()
    small, large = (by_lists(documents, size, beside=size == sizes[1]) for size in sizes)
    counts, seconds = (documents * sizes[0], documents * sizes[1]), (small[0], large[0])
    return Step("SPLADE search, pairs", counts, seconds, QUERIES * PASSAGES, "4 h", "SciPy", large[1] / large[0])


def by_lists(documents: int, queries: int, *, beside: bool) -> tuple[float, float]:
    """Return our seconds, and those of SciPy if they are asked for."""
    from limbeck.evaluation.best import Best
    from limbeck.search.inverted import Inverted

    rng, backend = np.random.default_rng(1), Inverted()
    ranker: Any = SimpleNamespace(scale=1.0)
    with tempfile.TemporaryDirectory() as folder:
        store, asked = pairs.filled("sparse", documents, Path(folder), rng), pairs.sparse(queries, 28, rng)
        lists = Path(folder) / "lists"
        lists.mkdir()
        backend.build(store, lists)

        def ours() -> Any:
            backend.search(ranker, asked, store, lists, best, range(len(store) // 2, len(store)))
            return list(best.rankings())

        best = Best(queries, SPARSE_DEPTH, store.names)
        backend.search(ranker, asked, store, lists, best, range(len(store) // 2))
        seconds = 2 * pairs.timed(ours)[1]
        few = queries // 10
        theirs = lambda: pairs.by_scipy(asked.part(0, few), store, SPARSE_DEPTH)  # noqa: E731
        return seconds, queries / few * pairs.timed(theirs)[1] if beside else 0.0


def reranking(documents: int, sizes: tuple[int, int]) -> Step:
    """Re-rank 20 candidates a query from an index of token vectors, and by a loop over queries."""
    from limbeck.search.ranking import rerank
    from limbeck.similarity import maxsim
    from limbeck.types import order

    rng, seconds, ratio = np.random.default_rng(1), [], 0.0
    ranker: Any = SimpleNamespace(scale=1.0, similarity=maxsim)
    with tempfile.TemporaryDirectory() as folder:
        store = pairs.filled("multi", documents, Path(folder), rng)
        for queries in sizes:
            asked = pairs.encode("multi", queries, "query", rng)
            first = {
                str(n): order([str(row) for row in rng.choice(documents, 20, replace=False)], np.ones(20))
                for n in range(queries)
            }
            seconds.append(pairs.timed(lambda a=asked, f=first: rerank(ranker, list(f), a, store, f))[1])
            if queries == sizes[1]:
                few = list(first.items())[: queries // 20]
                every = [shard.rows for shard in store.shards()]

                def loop(asked: Any = asked, few: Any = few, every: Any = every) -> None:
                    for line, (_, ranking) in enumerate(few):
                        query = asked.take(slice(line, line + 1))
                        for name in ranking.ids:
                            shard, row = divmod(int(name), pairs.SHARD)
                            maxsim(query, every[shard].take(slice(row, row + 1)))

                ratio = 20 * pairs.timed(loop)[1] / seconds[1]
    counts = (20 * sizes[0], 20 * sizes[1])
    return Step("ColBERT re-ranking, 20 a query, pairs", counts, (seconds[0], seconds[1]), 20 * QUERIES, "15 min",
                "a loop over pairs", ratio)  # fmt: skip


def collection(folder: Path, documents: int, queries: int) -> Path:
    """Write a BEIR folder with judged training queries."""
    (folder / "qrels").mkdir(parents=True)
    for name, count, length in (("corpus", documents, LENGTH), ("queries", queries, ASKED)):
        with (folder / f"{name}.jsonl").open("w") as file:
            file.writelines(
                f'{{"_id": "{number}", "text": "{text}"}}\n' for number, text in enumerate(texts(count, length, 1))
            )
    judged = "".join(f"{number}\t{number * 7 % documents}\t1\n" for number in range(queries))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


def opening(root: Path, sizes: tuple[int, int]) -> list[Step]:
    """Open a collection that was opened before, and read its ids in a loop."""
    import json

    from limbeck.artefacts import Artefacts
    from limbeck.data import folder as folders
    from limbeck.data.opening import Data

    folders.LARGE = 0  # kept as those above 16 MB are
    seconds, ratio = [], 0.0
    for size in sizes:
        place = collection(root / str(size), size, size // 18)
        data, artefacts = Data(collection=str(place), dev=None, test=None), Artefacts(root / f"cache{size}")

        def opened(data: Any = data, artefacts: Any = artefacts) -> int:
            found = data.open(artefacts)
            return len(found.document_ids) + len(found.split("train").queries)

        opened()
        seconds.append(min(pairs.timed(opened)[1] for _ in range(3)))
        if size == sizes[1]:

            def loop(place: Path = place) -> int:
                return sum(1 for line in (place / "corpus.jsonl").open() if json.loads(line)["_id"])

            ratio = pairs.timed(loop)[1] / seconds[1]
    return [Step("opening a collection again, documents", sizes, (seconds[0], seconds[1]), PASSAGES, "2 s",
                 "reading its ids", ratio)]  # fmt: skip


def first_step(root: Path, sizes: tuple[int, int]) -> Step:
    """Open a pool with teacher scores and draw the first batch."""
    seconds, own = [], []
    for size in sizes:
        path = root / f"pool{size}"
        path.mkdir(parents=True)
        scale.make_pool(path, size // scale.DEPTH)
        row = search.apart(scale.lists_of, path, size // scale.DEPTH, 3)
        seconds.append(float(str(row["opening, ms"])) / 1000)
        own.append(float(str(row["memory of its own, MB"])))
    memory = own[1] * 50e6 / sizes[1]
    return Step(f"pool and scores to the first batch, pairs ({memory:,.0f} MB of its own at 50 M)", sizes,
                (seconds[0], seconds[1]), 50e6, "30 s, 3,000 MB")  # fmt: skip


def remade(root: Path) -> list[str]:
    """Return the kinds of artefacts that are made anew when two files of judgments are added to a mined collection."""
    place = collection(root / "judged", 3000, 200)
    words = ["mine", "data=collection", f"data.collection={place}", "data.dev=null", "data.test=null",
             f"paths.cache={root / 'cache'}"]  # fmt: skip
    search.limbeck(*words, f"out={root / 'one'}")
    before = set((root / "cache").glob("*/*/meta.json"))
    for name in ("dl19", "dl20"):
        (place / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n3\t5\t1\n")
    search.limbeck(*words[:3], "data.dev=dl19", "data.test=dl20", words[-1], f"out={root / 'two'}")
    return sorted(path.parent.parent.name for path in set((root / "cache").glob("*/*/meta.json")) - before)


def peak(*words: str) -> float:
    """Run the command; return the most memory that it held of its own, without mapped files, in MB."""
    most = 0.0
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "limbeck", *words],
            stderr=printed,
            stdout=subprocess.DEVNULL,
            env=os.environ | naming_this(),
        )
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
                most = max([most, *(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))])
            except OSError:
                pass
            time.sleep(0.02)
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{printed.read()}{' '.join(words)}: exit status {process.returncode}")
    return most


def memory(root: Path, sizes: Sequence[int], documents: int = 2000, depth: int = 50, few: int = 20) -> None:
    """Print the peak memory of what is done for training queries, by their number.

    ``depth`` documents are found for each query, of which ``few`` are re-ranked, fused into lists and inspected.
    """
    collection(root / "small" / "data", 1000, 10)  # of the same words: unknown ones would make all texts alike
    model = search.apart(search.model, root / "small")
    peaks = [peaks_of(root / str(size), size, documents, depth, few, model) for size in sizes]
    print(
        "\n| peak memory of its own, MB, by queries | "
        + " | ".join(f"{size:,}" for size in sizes)
        + " | bytes a query more |"
    )
    print("|---|" + "---:|" * (len(sizes) + 1))
    for name in peaks[0]:
        found = [each[name] for each in peaks]
        more = 1e6 * (found[-1] - found[0]) / (sizes[-1] - sizes[0])
        print(f"| {name} | " + " | ".join(f"{each:,.0f}" for each in found) + f" | {more:,.0f} |", flush=True)


def peaks_of(root: Path, queries: int, documents: int, depth: int, few: int, model: Path) -> dict[str, float]:
    """Return the peak memory of each step by its name, for one number of queries."""
    student = [f"backbone.model={model}", "student.query_length=8", "student.document_length=16"]
    own = [f"candidates.{word}" for word in student]
    place, index, scores = collection(root / "data", documents, queries), root / "index", root / "scores"
    first, second = root / "first.trec", root / "second.trec"
    data = ["data=collection", f"data.collection={place}", "data.dev=null", "data.test=null"]
    kept = [f"paths.cache={root / 'cache'}", "accelerator=cpu"]
    asked = [f"index={index}", *kept, "split=train", "timed=0"]
    runs = [f"candidates.parts.run.file={first}", "+candidates.parts.other._target_=candidates/run",
            f"+candidates.parts.other.file={second}"]  # fmt: skip
    mined = ["mine", *data, *kept, f"candidates.depth={depth}"]
    search.limbeck("index", *data, *kept, "student=dense", "backbone=pretrained", *student, f"out={index}")
    steps = {
        "mine, BM25": [*mined, "candidates=bm25", f"out={root / 'bm25'}"],
        "mine, dense": [*mined, "candidates=dense", *own, f"out={root / 'dense'}"],
        "mine, SPLADE": [
            *mined, "candidates=dense", "student@candidates.student=splade", *own, f"out={root / 'splade'}"
        ],
        "search, exact": ["search", *asked, f"depth={few}", f"out={first}"],
        "re-rank": ["search", *asked, "candidates=run", f"candidates.file={first}", f"out={second}"],
        "lists": ["mine", *data, *kept, "candidates=fusion", "candidates/parts=[run]", *runs, f"out={root / 'lists'}"],
        "import": ["import", "format=trec_run", f"path={second}", f"out={scores}"],
        "inspect": ["inspect", *data, kept[0], "trainer.accelerator=cpu", "candidates=run", f"candidates.file={second}",
                    "teacher=store", f"teacher.path={scores}", "teacher.missing=drop", f"out={root / 'inspected'}"],
        "inspect, runs": ["inspect", f"run={second}", f"first_stage={first}", f"out={root / 'bare'}",
                          f"qrels={place / 'qrels' / 'train.tsv'}"],
    }  # fmt: skip
    peaks: dict[str, float] = {}
    for name, words in steps.items():
        peaks[name] = peak(*words)
        print(f"{name}, {queries:,} queries: {peaks[name]:,.0f} MB", file=sys.stderr, flush=True)
    return peaks


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="the peak memory by the number of queries instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if asked.memory:
            memory(Path(folder), (10_000, 100_000))
        else:
            steps(Path(folder))


def steps(root: Path) -> None:
    """Measure the steps and print them."""
    print("| step | sizes | seconds on one core | exponent | at full size | wanted | beside | times as fast |")
    print("|---|---:|---:|---:|---:|---:|---|---:|")
    for measured in (
        lambda: bm25((20_000, 80_000), 2000),
        lambda: dense((50_000, 200_000), 2500, 100, "candidates=dense", QUERIES * PASSAGES, "8 h"),
        lambda: dense((50_000, 200_000), 700, 1000, "search, exact", DEV * PASSAGES, "faiss flat"),
        lambda: [sparse(131_072, (5000, 20_000))],
        lambda: [reranking(40_000, (500, 2000))],
        lambda: opening(root / "opened", (20_000, 80_000)),
        lambda: [first_step(root / "pools", (1_000_000, 8_000_000))],
    ):
        for step in measured():
            print(step.row(), flush=True)
    print(f"\nTwo files of judgments added to a mined collection, made anew: {', '.join(remade(root / 'remade'))}.")


if __name__ == "__main__":
    main()
