"""The teacher and the warm students of the refinement study.

    python examples/refinement.py COLLECTION SPLADE [STUDENT ...]

COLLECTION is a BEIR folder (nfcorpus, scifact), SPLADE the folder of a trained SPLADE, STUDENT splade, colbert or dense
(without: all three). Makes refine/teacher_NAME and refine/STUDENT_NAME, where the sweeps refine_* look for them. If
interrupted, give it again. The teacher is the mean of MiniLM, BM25 and that SPLADE (docs/results/refinement.md).
ColBERT finds documents that these three do not; refine/teacher_colbert_NAME has scores for them, too.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from limbeck.scores.store import ScoreStore

WIDTH = 4.0
"""Factor of the mean. A mean of standardised scores is nearly flat in a softmax; times 4 it is as wide as MiniLM's."""
Run = Callable[..., object]


def command(*words: str) -> None:
    """Run limbeck in a process of its own."""
    subprocess.run([sys.executable, "-m", "limbeck", *words], check=True)


def make(collection: Path, splade: Path, students: list[str], run: Run = command) -> None:
    """Make the teacher, then the students."""
    name = collection.name
    dev = (collection / "qrels" / "dev.tsv").exists()
    data = [f"data.collection={collection}", *([] if dev else ["data.dev=null"])]
    part = f"candidates.parts.splade.backbone.model={splade}"
    teach(name, splade, data, ["candidates=refine", part], run)
    for student in students:
        warm, folder = f"refine_{student}_warm_up", Path("refine", f"{student}_{name}")
        if not folder.exists():
            model = [] if student == "dense" else [f"backbone.model={splade}"]
            held = [] if dev else ["data.dev_queries=200"]
            run("train", f"experiment={warm}", *data, *held, part, *model,
                f"teacher.path=refine/teacher_{name}", f"name={warm}_{name}")  # fmt: skip
            (made,) = (each.parent for each in Path("runs", f"{warm}_{name}").glob("*/result.json"))
            run("export", f"run={made}", f"out={folder}")
        if student == "colbert":
            own = ["candidates=refine_own", part, f"candidates.parts.own.student.folder={folder}"]
            teach(folder.name, splade, data, own, run)


def teach(name: str, splade: Path, data: list[str], fused: list[str], run: Run) -> None:
    """Make the teacher's scores of all candidates, the mean of three systems, times four: refine/teacher_NAME."""
    teacher = Path("refine", f"teacher_{name}")
    if teacher.exists():
        return
    work = Path("refine", f"scores_{name}")
    splits = "splits=[train,test]"
    run("score", *data, *fused, splits, "teacher=minilm", "teacher.student.document_length=128", f"out={work}/minilm")
    run("score", *data, *fused, splits, "teacher=dense", "student@teacher.student=splade",
        f"teacher.backbone.model={splade}", "teacher.student.query_length=32", "teacher.student.document_length=64",
        f"out={work}/splade")  # fmt: skip
    run("mine", *data, "candidates=bm25", "candidates.depth=6000", "pool.last_rank=6000", f"out={work}/mined")
    found: dict[tuple[str, str], float] = {}
    for split in ("train", "test"):
        with (work / "mined" / f"{split}.trec").open(encoding="utf-8") as lines:
            for query, _, document, _, score, _ in map(str.split, lines):
                found[query, document] = float(score)
    # BM25 does not find a document that has no word of the query: its score is 0.
    pairs = {query: {document: found.get((query, document), 0.0) for document in scores}
             for query, scores in scored(work / "minilm").items()}  # fmt: skip
    read = ["force=true", "format=trec_run", f"collection={data[0].partition('=')[2]}", "kind=similarity"]
    write(pairs, work / "bm25.trec")
    run("import", *read, f"path={work}/bm25.trec", "teacher.name=BM25", f"out={work}/bm25")
    stores = ",".join(f"{work}/{system}" for system in ("minilm", "bm25", "splade"))
    run("import", "force=true", "format=score_stores", f"path=[{stores}]", f"out={work}/mean")
    mean = scored(work / "mean")
    write({query: {d: WIDTH * score for d, score in own.items()} for query, own in mean.items()}, work / "mean.trec")
    run("import", *read, f"path={work}/mean.trec", 'teacher.name="mean of MiniLM, BM25 and SPLADE, times 4"',
        f"out={teacher}")  # fmt: skip


def scored(store: Path) -> dict[str, dict[str, float]]:
    """Return the scores of a store: query → document → score."""
    return {
        query: dict(zip(documents, map(float, scores), strict=True))
        for query, documents, scores, _ in ScoreStore.open(store)
    }


def write(scores: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write scores as a TREC run."""
    with path.open("w", encoding="utf-8") as file:
        for query, own in scores.items():
            ranked = sorted(own.items(), key=lambda each: (each[1], each[0]), reverse=True)
            for rank, (document, score) in enumerate(ranked, 1):
                print(query, "Q0", document, rank, f"{score:.6f}", "limbeck", file=file)


if __name__ == "__main__":
    place, model, *named = sys.argv[1:]
    make(Path(place), Path(model), named or ["splade", "colbert", "dense"])
