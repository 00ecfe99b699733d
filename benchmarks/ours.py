"""Limbeck's own side of the benchmarks: what ``limbeck train`` and its inference do, made of the same parts."""

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from materials import CANDIDATES, read

sys.path.append(str(Path(__file__).parent / "peers"))
from clock import Clock, Job


def composed(verb: str, *overrides: str) -> dict[str, Any]:
    """Return the configuration of a verb as plain containers, composed as the command does."""
    import hydra

    from limbeck.config import home
    from limbeck.experiment.train import plan
    from limbeck.schemas import store_schemas

    os.environ["LIMBECK_HOME"] = str(home())
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    store_schemas()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(home() / "conf")):
        return plan(hydra.compose(verb, list(overrides)), overrides)[0]


def configuration(asked: Job) -> dict[str, Any]:
    """Return that of ``limbeck train`` for a job; all that the job does not say is the default."""
    student = asked["student"]
    losses = asked["loss"] if student != "splade" else f"[{asked['loss']},flops]"
    sparse = ["loss.flops.query_weight={0}", "loss.flops.document_weight={0}"] if student == "splade" else []
    return composed(
        "train",
        "data=collection",
        f"data.collection={asked['data']}",
        "data.dev=null",
        "data.test=null",
        f"backbone={asked.get('backbone', 'pretrained')}",
        f"backbone.model={asked['model']}",
        f"student={student}",
        f"student.query_length={asked['query_length']}",
        f"student.document_length={asked['document_length']}",
        *([f"student.dimension={asked['dimension']}"] if student == "colbert" else []),
        *(["student.pooling=head"] if asked.get("head") else []),
        f"loss={losses}",
        *(word.format(asked["flops"]) for word in sparse),
        f"sampler.batch_size={asked['batch']}",
        "sampler.positives=1",
        f"sampler.negatives={CANDIDATES - 1}",
        f"trainer.accelerator={'gpu' if asked['device'] == 'cuda' else 'cpu'}",
        f"trainer.precision={asked['precision']}",
        f"trainer.steps={asked['warmup'] + asked['steps']}",
        f"paths.cache={asked['cache']}",
    )


class Ranked(NamedTuple):
    """A ranker on a collection."""

    config: dict[str, Any]
    collection: Any
    model: Any
    collator: Any


def ranker(asked: Job, *, trains: bool = False) -> Ranked:
    """Build the student of a job as the command does; one that trains may have random weights."""
    from limbeck.artefacts import Artefacts
    from limbeck.data.opening import described
    from limbeck.experiment import assemble

    config = configuration(asked)
    artefacts = Artefacts(Path(config["paths"]["cache"]))
    collection = described(config["data"]).open(artefacts)
    nodes = config["student"], config["backbone"]
    return Ranked(config, collection, *assemble.ranker(*nodes, collection, artefacts, anew=trains))


def keep_tokens(asked: Job) -> None:
    """Tokenise the collection, as the first training on it does; later ones read what is kept."""
    collator = ranker(asked, trains=True).collator
    collator.prepare("query")
    collator.prepare("document")


def pool(folder: Path, seed: int, batch: int) -> Any:
    """Return the lists as a training pool, placed so that the training draws them in the order of the file."""
    import numpy as np
    import pyarrow as pa

    from limbeck.data.pool import Pool
    from limbeck.data.sampling import Order

    lists = read(folder)
    drawn = [query for step in Order(len(lists), len(lists) // batch, batch, seed) for _, query in step]
    labels = np.zeros((len(lists), CANDIDATES), dtype=np.int16)
    labels[:, 0] = 1
    placed = [each for _, each in sorted(zip(drawn, lists, strict=True), key=lambda pair: pair[0])]
    return Pool(
        query_ids=[each["query_id"] for each in placed],
        offsets=np.arange(len(placed) + 1) * CANDIDATES,
        document_ids=pa.array([document for each in placed for document in each["document_ids"]], pa.string()),
        labels=labels.ravel(),
        ranks=np.array([each["ranks"] for each in placed], dtype=np.int32).ravel(),
        scores=np.array([each["scores"] for each in placed], dtype=np.float32).ravel(),
    )


class Training(NamedTuple):
    """What ``limbeck train`` has when its training begins."""

    trainer: Any
    module: Any
    data: Any

    def run(self) -> None:
        """Train."""
        self.trainer.fit(self.module, datamodule=self.data)


def training(asked: Job, folder: Path, watching: Mapping[str, Any]) -> Training:
    """Build the training of a job.

    Parameters
    ----------
    asked
        The job.
    folder
        Run folder.
    watching
        Callbacks of Lightning by any name, called after ours.
    """
    import lightning

    from limbeck.config import build
    from limbeck.data.datamodule import TrainingData
    from limbeck.training.checkpoints import callbacks
    from limbeck.training.module import Distillation
    from limbeck.training.objective import Objective
    from limbeck.training.progress import Speed

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*(many workers|LeafSpec|not resumable|number of training batches).*")
    config, _, student, collator = ranker(asked, trains=True)
    lightning.seed_everything(config["seed"], workers=True, verbose=False)
    terms = {name: build(node, key=f"loss.{name}") for name, node in config["loss"].items()}
    sampler, optim, made, tracker = (build(config[key], key=key) for key in ("sampler", "optim", "trainer", "logger"))
    lists = pool(Path(asked["data"]), config["seed"], sampler.batch_size)
    steps = made.steps(len(lists), sampler.batch_size)
    collator.prepare("query", len(lists))
    collator.prepare("document", len(lists) * CANDIDATES)
    data = TrainingData(lists, sampler, collator, config["seed"], steps, {})
    module = Distillation(student, Objective(terms), optim, steps, config["seed"])
    keep = callbacks(folder / "checkpoints", made.checkpoint_every, None)
    called = [*keep, Speed(sampler.batch_size, data), *watching.values()]
    loggers = tracker.start(folder, config["name"], "benchmark", config)
    return Training(made.make(steps, folder, called, loggers, validate=False), module, data)


def clock(asked: Job) -> Clock:
    """Return the clock of a job."""
    import torch

    torch.set_num_threads(asked["threads"])
    return Clock(asked, torch.cuda.synchronize if asked["device"] == "cuda" else lambda: None)


def train(asked: Job) -> None:
    """Train, and tell the time that steps take."""
    import torch
    from lightning.pytorch.callbacks import Callback

    timer = clock(asked)

    class Ticks(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            timer.tick()

    with tempfile.TemporaryDirectory() as folder:
        made = training(asked, Path(folder), {"ticks": Ticks()})
        made.run()
    assert made.module.student.training, "dropout was off"
    cuda = asked["device"] == "cuda"
    gpu = torch.cuda.max_memory_allocated() / 1e6 if cuda else None
    timer.tell(asked["batch"] * asked["steps"], gpu=gpu)


def encode(asked: Job) -> None:
    """Encode the first documents of a collection, and tell the time that it takes and some of the numbers."""
    from limbeck.inference import encode

    timer = clock(asked)
    _, collection, model, collator = ranker(asked)
    model.to(asked["device"])
    ids = collection.document_ids[: asked["documents"]]
    bf16 = asked["precision"] == "bf16-mixed"
    found = None
    for some in [ids[: asked["batch"]]] * asked["warmup"] + [ids] * asked["steps"]:
        found = encode(model, collator, some, "document", bf16=bf16).arrays()["values"]
        timer.tick()
    assert found is not None
    timer.tell(len(ids) * asked["steps"], sample=found[:3, :4].tolist())


def score(asked: Job) -> None:
    """Score the pairs of lists, and tell the time that it takes and some of the scores."""
    from limbeck.inference import score_lists

    timer = clock(asked)
    _, _, model, collator = ranker(asked)
    model.to(asked["device"])
    lists = {each["query_id"]: each["document_ids"] for each in read(Path(asked["data"]))}
    first = dict(list(lists.items())[: asked["batch"]])
    bf16 = asked["precision"] == "bf16-mixed"
    found = {}
    for some in [first] * asked["warmup"] + [lists] * asked["steps"]:
        found = score_lists(model, collator, some, bf16=bf16)
        timer.tick()
    pairs = sum(map(len, lists.values()))
    timer.tell(pairs * asked["steps"], sample=[values.tolist() for values in list(found.values())[:3]])


if __name__ == "__main__":
    from limbeck.processes import end_with_parent

    end_with_parent()
    {"train": train, "encode": encode, "score": score}[sys.argv[2]](json.loads(sys.argv[1]))
