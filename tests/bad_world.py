"""A folder in which everything is right, commands that work in it, and functions that damage its files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from limbeck import room
from limbeck.scores.query_texts import record

Harm = Callable[[Path], object]


COLLECTION = "data=collection data.collection=beir"
TINY = "backbone.width=16 backbone.layers=1 backbone.heads=2 backbone.untrained=true"
MINE = f"mine {COLLECTION} candidates.depth=6"
TRAIN = (
    f"train name=base {COLLECTION} {TINY} teacher=store teacher.path=store candidates.depth=6 loss=[kl] "
    "sampler.batch_size=2 sampler.negatives=2 trainer.accelerator=cpu trainer.steps=2 trainer.precision=32-true "
    "eval.start=false eval.teacher=false"
)
INDEX = f"index {COLLECTION} {TINY} accelerator=cpu out=index"
EVALUATE = "evaluate run_file=run.trec qrels=qrels.txt"
IMPORT = "import format=trec_run path=teacher.trec out=new"
INSPECT = "inspect run=run.trec qrels=qrels.txt"
EXPORT = "export run=RUN out=made"
SEARCH = "search index=index out=found.trec accelerator=cpu"
LM = f"score {COLLECTION} candidates.depth=6 accelerator=cpu out=new teacher.model=lm teacher"
GIVEN = f"mine {COLLECTION} candidates=run candidates.file=run.trec"
STORES = "import format=score_stores path=store out=new"
FINISHED = "RUN"
"""Stands for the folder of the finished run."""

TOPICS = ("cats purr", "dogs bark", "fish swim", "birds sing")


def documents() -> list[dict[str, str]]:
    """Return three documents per topic."""
    return [
        {"_id": f"d{topic}{n}", "title": TOPICS[topic].title(), "text": f"{TOPICS[topic]} {'and again ' * n}all day"}
        for topic in range(4)
        for n in range(3)
    ]


def world(folder: Path, call: Callable[..., str]) -> None:
    """Create a collection, judgments, runs, a score store, a finished run and an index."""
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    lines(beir / "corpus.jsonl", [json.dumps(each) for each in documents()])
    lines(beir / "queries.jsonl", [json.dumps({"_id": f"q{n}", "text": f"who {TOPICS[n]}"}) for n in range(4)])
    for name, queries in {"train": (0, 1, 2, 3), "dev": (0, 1), "test": (2, 3)}.items():
        rows = [f"q{n}\td{n}0\t1" for n in queries]
        lines(beir / "qrels" / f"{name}.tsv", ["query-id\tcorpus-id\tscore", *rows])
    lines(folder / "qrels.txt", [f"q{n} 0 d{n}0 1" for n in range(4)])
    ids = [each["_id"] for each in documents()]
    ranked = [(n, d, rank) for n in range(4) for rank, d in enumerate(ids, 1)]
    lines(folder / "run.trec", [f"q{n} Q0 {d} {rank} {12 - rank}.5 me" for n, d, rank in ranked])
    taught = [f"q{n} Q0 {d} {rank} {9 * (d[1] == str(n)) + rank * (n + 3) % 7}.5 me" for n, d, rank in ranked]
    lines(folder / "teacher.trec", taught)
    call("import format=trec_run path=teacher.trec out=store kind=logit collection=beir")
    call(TRAIN)
    call(INDEX)


def lines(path: Path, texts: list[str]) -> None:
    """Write lines."""
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")


# -- what is done to a file -------------------------------------------------------------------------------------------


def edit(name: str, old: str, new: str) -> Harm:
    """Replace a text that appears in a file."""

    def harm(folder: Path) -> None:
        path = of_run(folder, name)
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return harm


def scored(name: str, query: str, text: str) -> Harm:
    """Record in a score store another text of a query."""

    def harm(folder: Path) -> None:
        record(of_run(folder, name), [query], lambda _: [text])

    return harm


def write(name: str, content: str | bytes) -> Harm:
    """Write a file."""
    data = content.encode() if isinstance(content, str) else content

    def harm(folder: Path) -> None:
        path = of_run(folder, name)
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return harm


def add(name: str, content: str | bytes) -> Harm:
    """Append to a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: of_run(folder, name).write_bytes(of_run(folder, name).read_bytes() + data)


def cut(name: str, share: float = 0.5) -> Harm:
    """Keep the beginning of a file."""

    def harm(folder: Path) -> None:
        data = of_run(folder, name).read_bytes()
        of_run(folder, name).write_bytes(data[: int(len(data) * share)])

    return harm


def delete(name: str) -> Harm:
    """Delete a file or folder."""

    def harm(folder: Path) -> None:
        path = of_run(folder, name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def copy(name: str, to: str) -> Harm:
    """Copy a file or folder."""

    def harm(folder: Path) -> None:
        path = of_run(folder, name)
        shutil.copytree(path, folder / to) if path.is_dir() else shutil.copy(path, folder / to)

    return harm


class Little:
    """A machine with little memory or little disk space, in this context.

    Parameters
    ----------
    free
        Bytes of ``memory`` or ``disk``.
    """

    def __init__(self, **free: int) -> None:
        self._patch = pytest.MonkeyPatch()
        for name, count in free.items():
            self._patch.setattr(room, f"free_{name}", lambda *_, count=count: count)

    def __del__(self) -> None:
        self._patch.undo()


def little(**free: int) -> Harm:
    """Leave only a few bytes of ``memory`` or ``disk``."""
    return lambda _: Little(**free)


def both(*harms: Harm) -> Harm:
    """Apply several changes."""
    return lambda folder: [harm(folder) for harm in harms]


def recode(name: str, encoding: str) -> Harm:
    """Write a file in another encoding."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_text("utf-8").encode(encoding))


def of_run(folder: Path, name: str) -> Path:
    """Return a path; ``RUN/…`` is in the folder of the finished run, and a star matches any name."""
    if name.startswith(FINISHED):
        (run,) = folder.glob("runs/base/*")
        return run / name.removeprefix(FINISHED).lstrip("/")
    if "*" in name:
        (found,) = folder.glob(name)
        return found
    return folder / name


def language_model(family: str, *, nan: bool = False) -> Harm:
    """Save a tiny language model in the folder ``lm``; with NaN among its weights."""

    def harm(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        from language_models import save

        file = save(folder / "lm", family) / "model.safetensors"
        if nan:
            weights = load_file(file)
            weights["model.norm.weight"][0] = float("nan")
            save_file(weights, file, {"format": "pt"})

    return harm


def judge(*rows: str) -> Harm:
    """Write the judgments of the training queries."""
    return lambda folder: lines(folder / "beir/qrels/train.tsv", ["query-id\tcorpus-id\tscore", *rows])


def document(name: str, text: str = "cats purr") -> Harm:
    """Write one more document; both arguments are the text between JSON's quotes."""
    return add("beir/corpus.jsonl", f'{{"_id": "{name}", "title": "", "text": "{text}"}}\n')


def asked(*texts: str) -> Harm:
    """Write other texts of the queries."""
    objects = [json.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(texts)]
    return lambda folder: lines(folder / "beir/queries.jsonl", objects)


def token_vectors(folder: Path) -> None:
    """Write a folder in model2vec's format."""
    (folder / "table").mkdir()
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "cats": 1}, unk_token="[UNK]"))
    words.save(str(folder / "table" / "tokenizer.json"))
    save_file({"embeddings": np.ones((2, 3), dtype=np.float32)}, folder / "table" / "model.safetensors")
