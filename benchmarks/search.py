"""Indexing and searching 100,000 documents with ``limbeck index`` and ``limbeck search``.

``python benchmarks/search.py`` writes collections of generated words into a temporary folder, encodes them with tiny
models of each kind, and prints the rates and the peak memory of each process at three sizes: it should not grow
with the collection, but for backends that hold it in memory. Encoding beside a peer: ``encode.py``. ``--check`` fails
where a limit is not kept.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.processes import end_with_parent, naming_this

KINDS = {
    "dense": (["student=dense"], [["exact"], ["faiss"], ["faiss", "backend.type=ivf"], ["faiss", "backend.type=hnsw"]]),
    "sparse": (["student=splade"], [["exact"], ["inverted"]]),
    "multi": (["student=colbert", "student.dimension=32"], [["exact"], ["plaid"]]),
}
GROWTH = 1.25
"""What peak memory at the largest size may be of that at the smallest."""
SLOWER = 1.2
"""What exact search may take of faiss flat's time."""
QUERIES = 40
ACTIVE = 100
"""Words of the vocabulary, of 2,000, that a document weighs: about what trained sparse students have."""


def generate(folder: Path, documents: int) -> None:
    """Write a BEIR folder of words by Zipf's law."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    words = np.array(["".join(rng.choice(syllables, rng.integers(2, 4))) for _ in range(5_000)])
    (folder / "qrels").mkdir(parents=True)

    def text(length: int) -> str:
        return " ".join(words[np.minimum(rng.zipf(1.3, length) - 1, len(words) - 1)])

    with (folder / "corpus.jsonl").open("w") as file:
        for number in range(documents):
            file.write(f'{{"_id": "{number}", "title": "", "text": "{text(int(rng.integers(10, 50)))}"}}\n')
    with (folder / "queries.jsonl").open("w") as file:
        file.writelines(f'{{"_id": "q{number}", "text": "{text(6)}"}}\n' for number in range(QUERIES))
    judged = "".join(f"q{number}\t{number}\t1\n" for number in range(QUERIES))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function in a process of its own: a child's peak memory begins with what its parent has."""
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent, (os.getpid(),)) as pool:
        return pool.submit(function, *given).result()


def model(root: Path) -> Path:
    """Save a tiny masked language model, whose bias leaves a document some words; returns its folder."""
    import torch

    from limbeck.artefacts import Artefacts
    from limbeck.backbones.backbone import save
    from limbeck.backbones.sources import load_tokenizer
    from limbeck.backbones.tiny import Tiny
    from limbeck.data.folder import documents
    from limbeck.inference import encode
    from limbeck.students.splade import Splade
    from limbeck.text.collate import Collator
    from limbeck.text.tokenizer import train_wordpiece

    found = documents(root / "data", Artefacts(root / "cache"), "0").docs_iter()
    texts = {document.doc_id: document.default_text() for document, _ in zip(found, range(1000), strict=False)}
    train_wordpiece(texts.values(), 2000, root / "tokenizer")
    tokenizer = load_tokenizer(str(root / "tokenizer"))
    torch.manual_seed(1)
    student = Splade(lambda task: Tiny(width=64, layers=1, heads=4).model(tokenizer, task)).eval()
    for name, parameter in student.named_parameters():
        if "LayerNorm" not in name:
            parameter.data.mul_(8)
    collator = Collator(tokenizer, student.style, lambda ids: [], lambda ids: [texts[name] for name in ids])
    logits = encode(student, collator, list(texts), "document").take(slice(None)).expm1()
    head: torch.nn.Linear = student.backbone.get_output_embeddings()  # pyright: ignore[reportAssignmentType]
    head.bias.data -= logits.topk(ACTIVE, dim=1).values[:, -1].median()
    save(student, tokenizer, root / "model")
    return root / "model"


def limbeck(*words: str) -> tuple[str, float]:
    """Run the command; returns its log and its peak memory in MB."""
    process = subprocess.Popen(
        [sys.executable, "-m", "limbeck", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | naming_this(),
    )
    assert process.stderr is not None
    printed = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(printed)
    return printed, used.ru_maxrss / 1000


def number(pattern: str, printed: str) -> float:
    found = re.search(pattern, printed)
    assert found is not None, printed
    return float(found[1].replace(",", ""))


def measure(root: Path, documents: int, shard: int, absent: set[str], *, all_backends: bool) -> list[dict[str, object]]:
    """Index and search a collection of one size with every kind of student."""
    generate(root / "data", documents)
    backbone = ["backbone=pretrained", f"backbone.model={apart(model, root)}"]
    data = [f"data.collection={root / 'data'}", "data.train=null", "data.dev=null", f"paths.cache={root / 'cache'}"]
    rows: list[dict[str, object]] = []
    for kind, (student, backends) in KINDS.items():
        out = root / kind
        for words in backends:
            name = " ".join([words[0], *(word.partition("=")[2] for word in words[1:])])
            if words[0] in absent or not (all_backends or words[0] in ("exact", "inverted")):
                continue
            asked = ["backend=" + words[0], *words[1:]]
            command = [
                "index",
                "data=collection",
                *data,
                *backbone,
                *student,
                *asked,
                f"shard_size={shard}",
                f"out={out}",
            ]
            printed, peak = limbeck(*command, "accelerator=cpu")
            rate = re.search(r"([\d.]+) documents/s", printed)
            row: dict[str, object] = {"kind": kind, "backend": name, "documents": documents, "index, MB": peak}
            row["documents/s"] = float(rate[1]) if rate else None
            row["build, s"] = number(r"index ready, ([\d.]+) s", printed)
            run = [
                "search",
                f"index={out}",
                f"out={root / 'run.trec'}",
                "force=true",
                "depth=100",
                "metrics=[recall@100]",
            ]
            printed, row["search, MB"] = limbeck(*run, f"paths.cache={root / 'cache'}", "accelerator=cpu")
            row["queries/s"] = QUERIES / max(number(r"searched by \w+ in ([\d.]+) s", printed), 0.005)
            row["alone, ms"] = number(r"a query alone: ([\d.]+) ms", printed)
            rows.append(row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    return rows


def beside_flat(documents: int, queries: int = 1000, rounds: int = 5) -> float:
    """Return the median of our time over that of faiss, in turn, on random vectors of length 1; the same runs."""
    from types import SimpleNamespace

    import torch

    from limbeck.encodings import rows
    from limbeck.evaluation.best import Best
    from limbeck.search.exact import Exact
    from limbeck.search.faiss import Faiss
    from limbeck.search.shards import Store
    from limbeck.similarity import dot

    def vectors(count: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(count, 384), dim=-1)

    torch.manual_seed(1)
    ranker: Any = SimpleNamespace(scale=1.0, similarity=dot)
    asked = rows("dense", {"values": vectors(queries)}, 384)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder), {"kind": "dense", "dtype": "float32", "shard_size": 16384}, {})
        for number, start in enumerate(range(0, documents, 16384)):
            ids = [str(row) for row in range(start, min(documents, start + 16384))]
            store.write(number, ids, rows("dense", {"values": vectors(len(ids))}, 384))
        store.finish(documents)
        seconds: dict[str, list[float]] = {}
        found: dict[str, list[list[str]]] = {}
        for _ in range(rounds + 1):  # the first warms up
            for backend in (Exact(), Faiss()):
                best = Best(queries, 100, store.names)
                start = time.perf_counter()
                backend.search(ranker, asked, store, Path(folder), best, range(-(-documents // 16384)))
                found[backend.name] = [ranking.ids for ranking in best.rankings()]
                seconds.setdefault(backend.name, []).append(time.perf_counter() - start)
    same = sum(one == other for one, other in zip(found["exact"], found["faiss"], strict=True))
    assert same > 0.95 * queries, "both find the same, but for scores that differ in the last bit"
    return statistics.median(one / other for one, other in zip(seconds["exact"][1:], seconds["faiss"][1:], strict=True))


def missing() -> set[str]:
    """Return the backends that this installation does not have, and say so."""
    from limbeck.config import ConfigError
    from limbeck.search.faiss import Faiss
    from limbeck.search.plaid import Plaid

    found = set()
    for backend in (Faiss(), Plaid()):
        try:
            backend.check()
        except ConfigError as error:
            print(f"left out: {error}", file=sys.stderr)
            found.add(backend.name)
    return found


def show(rows: list[dict[str, object]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        cells = ["" if v is None else f"{v:,.4g}" if isinstance(v, float) else f"{v}" for v in row.values()]
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--shard-size", type=int, default=4096)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    absent, rows = apart(missing), []
    with tempfile.TemporaryDirectory() as folder:
        for share in (10, 2, 1):
            rows += measure(
                Path(folder) / str(share), asked.documents // share, asked.shard_size, absent, all_backends=share == 1
            )
        show(sorted(rows, key=lambda row: (str(row["kind"]), str(row["backend"]))))
    print()
    at = {(row["kind"], row["backend"], row["documents"]): row for row in rows}
    large, small = asked.documents, asked.documents // 10
    slower = None
    if "faiss" not in absent:
        slower = apart(beside_flat, min(asked.documents, 50_000))
        print(f"exact search takes {slower:.2f} of the time of faiss flat (1,000 queries, vectors of 384, best 100)\n")
    grown = {
        f"{kind} {name}, {what}": float(str(row[what])) / float(str(at[kind, name, small][what]))
        for (kind, name, size), row in at.items()
        for what in ("index, MB", "search, MB")
        if size == large and (kind, name, small) in at
    }
    print(f"peak memory at {large:,} over {small:,} documents: at most {max(grown.values()):.2f}")
    broken = [f"{name}: {value:.2f}" for name, value in grown.items() if value > GROWTH]
    if slower is not None and slower > SLOWER:
        broken.append(f"exact search: {slower:.2f} of the time of faiss flat")
    if asked.check and broken:
        raise SystemExit(f"not kept: {', '.join(broken)}")


if __name__ == "__main__":
    main()
