"""A collection with worse labels of its training queries, to see what a loss that trusts them loses.

    python examples/broken_labels.py COLLECTION half|wrong OUT

COLLECTION is a BEIR folder, OUT the new one. half: half of the labels are left out, but one of each query stays; a
list may then hold relevant documents as negatives. wrong: 40 % of the labels move to the first documents without a
label that BM25 finds, fewer if it finds too few (30 % on nfcorpus). Other splits stay as they are.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from limbeck.evaluation.qrels import judgments
from limbeck.formats.judging import write_qrels

Labels = dict[str, dict[str, int]]
"""Query → relevant document → grade."""
Run = Callable[..., object]


def command(*words: str) -> None:
    """Run limbeck in a process of its own."""
    subprocess.run([sys.executable, "-m", "limbeck", *words], check=True)


def make(collection: Path, kind: str, out: Path, run: Run = command) -> None:
    """Write the collection with broken labels."""
    labels = read(collection / "qrels" / "train.tsv")
    broken = halved(labels) if kind == "half" else replaced(labels, unlabelled(collection, labels, run))
    out.mkdir(parents=True)
    for path in filter(Path.is_file, collection.rglob("*")):
        copy = out / path.relative_to(collection)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    pairs = {(query, document): grade for query, own in broken.items() for document, grade in own.items()}
    write_qrels(out / "qrels" / "train.tsv", pairs)


def read(qrels: Path) -> Labels:
    """Return the labels above 0 of a split, in the order of the file."""
    labels: Labels = defaultdict(dict)
    for query, document, grade in judgments(qrels):
        if grade > 0:
            labels[query][document] = grade
    return labels


def halved(labels: Labels) -> Labels:
    """Leave out half of the labels; one of each query stays."""
    rng = random.Random(0)
    return {
        query: {d: own[d] for d in rng.sample(list(own), max(1, round(len(own) / 2)))} for query, own in labels.items()
    }


def replaced(labels: Labels, others: Mapping[str, Sequence[str]]) -> Labels:
    """Give 40 % of the labels to the first of other documents of their query; too few others: as many as there are."""
    rng = random.Random(0)
    broken: Labels = {}
    for query, own in labels.items():
        left = iter(others[query])
        broken[query] = {next(left, d) if rng.random() < 0.4 else d: grade for d, grade in own.items()}
    return broken


def unlabelled(collection: Path, labels: Labels, run: Run) -> dict[str, list[str]]:
    """Return the documents without a label that BM25 finds for each query, best first."""
    with tempfile.TemporaryDirectory() as work:
        run("mine", f"data.collection={collection}", "data.dev=null", "candidates=bm25", "candidates.depth=1000",
            "pool.last_rank=1000", f"out={work}/mined")  # fmt: skip
        found: dict[str, list[str]] = defaultdict(list)
        for line in Path(work, "mined", "train.trec").read_text(encoding="utf-8").splitlines():
            query, _, document, *_ = line.split()
            if document not in labels[query]:
                found[query].append(document)
    return found


if __name__ == "__main__":
    source, broken_by, target = sys.argv[1:]
    make(Path(source), broken_by, Path(target))
