"""What a GPU does: the tests that it must pass, and how fast it trains, encodes and scores. Under ten minutes.

    make gpu                                      on a machine with CUDA and the packages; writes docs/reference/gpu.md
    python benchmarks/gpu.py --device cpu         the same at sizes of a toy, to see that it runs: build/gpu.md
    python benchmarks/gpu.py --no-tests           the figures alone

It needs no network and installs nothing. Models have the shapes of MiniLM-L6 and BERT-base and random weights: what a
step costs does not depend on them. All texts are longer than what is read of them, so a list of 32 at 128 tokens is 32
times 128 tokens. Peers are measured where they are installed.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import materials
import ours
import profiling

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "gpu.md"
GOAL = 0.4
"""Share of the device's peak that a training of BERT-base should reach, or the page says where the time goes."""
WORDS = 2_000
"""Of the language of the texts."""


class Size(NamedTuple):
    """How much is measured."""

    models: Mapping[str, Mapping[str, int]]
    lengths: tuple[int, ...]
    batch: int
    candidates: int
    warmup: int
    steps: int
    documents: int


SIZES = {
    "cuda": Size(
        {
            "MiniLM-L6": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
            "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
        },
        (128, 256), batch=8, candidates=32, warmup=8, steps=30, documents=16_384,
    ),
    "cpu": Size(
        {
            "toy of MiniLM-L6": {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96},
            "toy of BERT-base": {"hidden_size": 96, "num_hidden_layers": 2, "intermediate_size": 192},
        },
        (16, 32), batch=2, candidates=4, warmup=1, steps=2, documents=64,
    ),
}  # fmt: skip
HEADS = 12


def model(shape: Mapping[str, int], length: int, folder: Path, texts: Iterable[str], *, classifier: bool) -> Path:
    """Write a BERT of a shape with random weights, and a tokenizer; returns its folder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    from limbeck.text.tokenizer import train_wordpiece

    torch.manual_seed(materials.SEED)
    config = BertConfig(**shape, num_attention_heads=HEADS, max_position_embeddings=max(512, 2 * length), num_labels=1)
    made = BertForSequenceClassification(config) if classifier else BertModel(config)
    made.save_pretrained(folder)
    train_wordpiece(texts, 4_000, folder)
    return folder


def lists(size: Size, folder: Path, length: int) -> list[str]:
    """Write a BEIR folder with lists for each step, in which every document is longer than what is read; its texts."""
    import numpy as np

    draw = np.random.default_rng(materials.SEED)
    words = np.array(["".join(draw.choice(list("abcdefghij"), 6)) for _ in range(WORDS)])
    count = size.batch * (size.warmup + size.steps)
    documents = max(size.documents, size.batch * size.candidates)
    texts = {f"d{n}": " ".join(draw.choice(words, length)) for n in range(documents)}
    queries = {f"q{n}": " ".join(draw.choice(words, 8)) for n in range(count)}
    made = [
        {
            "query_id": query,
            "document_ids": [f"d{n}" for n in draw.choice(documents, size.candidates, replace=False)],
            "scores": sorted(draw.normal(size=size.candidates).tolist(), reverse=True),
            "ranks": list(range(1, size.candidates + 1)),
        }
        for query in queries
    ]
    (folder / "qrels").mkdir(parents=True)
    for name, found in (("corpus", texts), ("queries", queries)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"_id": key, "text": text}) + "\n" for key, text in found.items())
    judged = "".join(f"{each['query_id']}\t{each['document_ids'][0]}\t1\n" for each in made)
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    with (folder / "lists.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in made)
    return [*texts.values(), *queries.values()]


class Bench:
    """The measurements, one after the other, in this process.

    Parameters
    ----------
    device
        ``cuda`` or ``cpu``.
    scratch
        For models, texts and tokens.
    peak
        FLOP/s of the device in 16 bits; None where it is not known.
    """

    def __init__(self, device: str, scratch: Path, peak: float | None) -> None:
        self.device = device
        self.size = SIZES[device]
        self.peak = peak
        self._scratch = scratch

    def job(self, name: str, length: int, student: str) -> dict[str, Any]:
        """Return the job of a model and a length, whose files are made where they are not there."""
        data = self._scratch / f"texts-{length}"
        if not data.exists():
            texts = lists(self.size, data, length)
            (data / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        folder = self._scratch / f"{name}-{length}-{student}".replace(" ", "-")
        if not folder.exists():
            texts = json.loads((data / "texts.json").read_text(encoding="utf-8"))
            model(self.size.models[name], length, folder, texts, classifier=student == "cross_encoder")
        return {
            "data": str(data), "model": str(folder), "student": student, "loss": "kl", "batch": self.size.batch,
            "head": student == "cross_encoder",
            "query_length": 32, "document_length": length, "device": self.device, "precision": "bf16-mixed",
            "warmup": self.size.warmup, "steps": self.size.steps, "cache": str(self._scratch / "cache"), "threads": 1,
            "layers": self.size.models[name]["num_hidden_layers"], "setting": name, "documents": self.size.documents,
        }  # fmt: skip

    def wait(self) -> None:
        """Wait for the device."""
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def train(self, job: dict[str, Any]) -> dict[str, float | None]:
        """Train, and return queries/s, tokens/s, share of the peak, share of the time waiting for data, peak MB."""
        import torch
        from lightning.pytorch.callbacks import Callback

        from limbeck.training.progress import Speed

        counted = {"documents": 0, "tokens": 0, "flops": 0.0}
        times: list[float] = []
        bench = self

        class Watching(Callback):
            def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
                if number >= bench.size.warmup:
                    profiling.count(counted, module.student.backbone, batch)

            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
                if number + 1 in (bench.size.warmup, bench.size.warmup + bench.size.steps):
                    bench.wait()
                    times.append(time.perf_counter())

        ours.keep_tokens(job)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            made = ours.training(job, Path(folder), {"watching": Watching()})
            made.run()
        (speed,) = [each for each in made.trainer.callbacks if isinstance(each, Speed)]
        seconds = times[1] - times[0]
        rate = counted["flops"] / seconds
        return {
            "queries/s": self.size.batch * self.size.steps / seconds,
            "tokens/s": counted["tokens"] / seconds,
            "TFLOP/s": rate / 1e12,
            "MFU": rate / self.peak if self.peak else None,
            "waiting": speed.waiting,
            "peak MB": torch.cuda.max_memory_allocated() / 1e6 if self.device == "cuda" else None,
        }

    def loader(self, job: dict[str, Any]) -> float:
        """Return the queries/s of the loader alone."""
        import torch

        with tempfile.TemporaryDirectory() as folder:
            data = ours.training(job, Path(folder), {}).data
            root = SimpleNamespace(root_device=torch.device(self.device))
            data.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=root)
            start = time.perf_counter()
            batches = sum(1 for _ in data.train_dataloader())
        return batches * self.size.batch / (time.perf_counter() - start)

    def encode(self, job: dict[str, Any]) -> dict[str, float | None]:
        """Return the documents/s of encoding, ours and the peer's."""
        from limbeck.inference import encode

        ours.keep_tokens(job)
        _, collection, ranker, collator = ours.ranker(job)
        ranker.to(self.device)
        ids = collection.document_ids[: self.size.documents]
        own = self._timed(lambda some: encode(ranker, collator, some, "document", bf16=True), ids)
        return {"ours": own, "sentence-transformers": self._peer_encodes(job) if _installed() else None}

    def score(self, job: dict[str, Any]) -> dict[str, float | None]:
        """Return the pairs/s of scoring, ours and the peer's."""
        from limbeck.inference import score_lists

        ours.keep_tokens(job)
        found = ours.ranker(job)
        found.model.to(self.device)
        asked = {each["query_id"]: each["document_ids"] for each in materials.read(Path(job["data"]))}
        pairs = [(query, document) for query, documents in asked.items() for document in documents]

        def score(some: list[tuple[str, str]]) -> None:
            by_query: dict[str, list[str]] = {}
            for query, document in some:
                by_query.setdefault(query, []).append(document)
            score_lists(found.model, found.collator, by_query, bf16=True)

        return {
            "ours": self._timed(score, pairs),
            "sentence-transformers": self._peer_scores(job, pairs) if _installed() else None,
        }

    def _timed(self, call: Any, items: list[Any]) -> float:
        call(items[: max(1, len(items) // 8)])
        self.wait()
        start = time.perf_counter()
        call(items)
        self.wait()
        return len(items) / (time.perf_counter() - start)

    def _peer_encodes(self, job: dict[str, Any]) -> float:
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

        given = {"dtype": torch.bfloat16}
        transformer = Transformer(job["model"], max_seq_length=job["document_length"], model_kwargs=given)
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), "mean"), Normalize()]
        peer = SentenceTransformer(modules=modules, device=self.device)
        texts = _texts(job, "corpus")[: self.size.documents]
        return self._timed(
            lambda some: peer.encode(some, batch_size=256, convert_to_tensor=True, show_progress_bar=False), texts
        )

    def _peer_scores(self, job: dict[str, Any], pairs: list[tuple[str, str]]) -> float:
        import torch
        from sentence_transformers import CrossEncoder

        peer = CrossEncoder(
            job["model"], device=self.device, max_length=job["document_length"] + 32,
            model_kwargs={"dtype": torch.bfloat16},
        )  # fmt: skip
        names = {name: dict(_records(job, name)) for name in ("queries", "corpus")}
        read = [(names["queries"][query], names["corpus"][document]) for query, document in pairs]
        return self._timed(lambda some: peer.predict(some, batch_size=256, show_progress_bar=False), read)


def _installed() -> bool:
    return find_spec("sentence_transformers") is not None


def _records(job: Mapping[str, Any], name: str) -> Iterable[tuple[str, str]]:
    with (Path(job["data"]) / f"{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield record["_id"], record["text"]


def _texts(job: Mapping[str, Any], name: str) -> list[str]:
    return [text for _, text in _records(job, name)]


def machine(device: str) -> dict[str, str]:
    """Return what the figures were made on."""
    import torch

    packages = ("torch", "transformers", "lightning", "sentence-transformers")
    found = {"device": "the processor (a dry run)"}
    if device == "cuda":
        shown = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True,
            check=False,
        ) if _there("nvidia-smi") else None  # fmt: skip
        found["device"] = torch.cuda.get_device_name()
        found["driver"] = shown.stdout.split("\n")[0].strip() if shown and not shown.returncode else "not known"
        found["CUDA"] = str(torch.version.cuda)
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _there(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None


def tests(device: str) -> str:
    """Run the tests marked gpu; returns their last line. Their output goes to the terminal."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", f"--device={device}", "-n", "0", "-p", "no:cacheprovider"]
    if find_spec("xdist") is None:
        command = [word for word in command if word not in ("-n", "0")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        sys.stderr.write(line)
        last = line.strip() or last
    if process.wait():
        raise SystemExit(f"the tests failed: {last}")
    return last.strip("= ")


def table(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return a table in Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return [*lines, *(f"| {' | '.join(_cell(name, row[name]) for name in names)} |" for row in rows)]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in ("MFU", "waiting"):
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def measured(bench: Bench) -> list[str]:
    """Measure, and return the page's sections."""
    training, encoding, scoring = [], [], []
    for name in bench.size.models:
        for length in bench.size.lengths:
            job = bench.job(name, length, "dense")
            row = {"model": name, "tokens a document": length, **bench.train(job), "loader alone": bench.loader(job)}
            training.append(row)
            encoding.append({"model": name, "tokens a document": length, **bench.encode(job)})
            pairs = bench.job(name, length, "cross_encoder")
            scoring.append({"model": name, "tokens a document": length, **bench.score(pairs)})
            print(*(_cell(key, value) for key, value in row.items()), file=sys.stderr, flush=True)
    size = bench.size
    page = [
        "## Training", "",
        f"Dense student, KL, {size.batch} queries × lists of {size.candidates}, bfloat16, dropout .1, AdamW; "
        f"{size.steps} steps after {size.warmup}. Tokens are those that are read, without padding; FLOPs of the model "
        "are those of its layers, three times the forward pass; MFU is their share of the device's peak in 16 bits. "
        "The loader alone makes so many queries a second.", "",
        *table(training), "",
        "## Encoding, documents/s", "", *table(encoding), "",
        "## Scoring by a cross-encoder, pairs/s", "", *table(scoring), "",
    ]  # fmt: skip
    slow = [row for row in training if row["MFU"] is not None and row["MFU"] < GOAL]
    if slow or bench.device == "cpu":
        name, length = list(bench.size.models)[-1], bench.size.lengths[0]
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            profiling.profile(bench.job(name, length, "dense"), bench.peak)
        page += ["## Where the time of a step goes", "", shown.getvalue().strip(), ""]
    return page


def main() -> None:
    """Run the tests, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(SIZES), default="cuda")
    parser.add_argument("--out", type=Path, help="the page; docs/reference/gpu.md, of a dry run build/gpu.md")
    parser.add_argument("--no-tests", action="store_true", help="measure alone")
    parser.add_argument("--peak", type=float, help="peak FLOP/s of the device in 16 bits, where it is not known")
    asked = parser.parse_args()
    import torch

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that torch sees; --device cpu tries the same at the sizes of a toy")
    start = time.perf_counter()
    passed = None if asked.no_tests else tests(asked.device)
    ours.CANDIDATES = SIZES[asked.device].candidates
    peak = asked.peak
    if peak is None and asked.device == "cuda":
        from limbeck.training.utilisation import peak as known

        peak = known(torch.cuda.get_device_name(), "bf16-mixed")
    with tempfile.TemporaryDirectory() as scratch:
        sections = measured(Bench(asked.device, Path(scratch), peak))
    seconds = time.perf_counter() - start
    facts = {"date": time.strftime("%Y-%m-%d"), **machine(asked.device), "seconds in all": f"{seconds:.0f}"}
    facts["tests"] = passed or "not run"
    page = ["# On a GPU", "", "Written by `make gpu` ([how](../howto/speed.md#on-a-gpu)).", "", *table([facts]), ""]
    out = asked.out or (PAGE if asked.device == "cuda" else ROOT / "build" / "gpu.md")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join([*page, *sections]).rstrip() + "\n", encoding="utf-8")
    print(f"{out}: {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    from limbeck.processes import end_with_parent

    end_with_parent()
    main()
