"""Train the student with Lightning, and choose the checkpoint to keep."""

import logging
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from limbeck.artefacts import write_json
from limbeck.config import Config
from limbeck.data.datamodule import TrainingData
from limbeck.evaluation.runs import cut
from limbeck.experiment.parts import Parts
from limbeck.experiment.prepared import Prepared
from limbeck.experiment.run_folder import RunFolder
from limbeck.processes import named
from limbeck.training import memory, resources
from limbeck.training.callbacks import make
from limbeck.training.checkpoints import BEST, LAST, PREVIOUS, callbacks, load_student, to_resume
from limbeck.training.guards import Collapse, Nonfinite
from limbeck.training.lengths import too_long
from limbeck.training.module import Distillation, Validation
from limbeck.training.progress import Record, Speed
from limbeck.training.refresh import RankRefresh
from limbeck.training.signals import SaveOnSignal
from limbeck.types import Run

log = logging.getLogger(__name__)


def fit(parts: Parts, prepared: Prepared, folder: RunFolder, loggers: list[Logger], *, main: bool) -> Config:
    """Train the student, starting from the last checkpoint of an earlier attempt.

    Parameters
    ----------
    parts
        The parts of the run.
    prepared
        Collection, student and pool.
    folder
        Gets the checkpoints and ``trained.json``.
    loggers
        Lightning's loggers.
    main
        Whether this is the first process of the run, which alone writes.

    Returns
    -------
    dict
        Steps, precision, seconds, speed, the file name of the checkpoint to keep, and its value on the dev split.
    """
    training, sampler = parts.training, parts.sampler
    steps = training.steps(len(prepared.pool), sampler.batch_size)
    dev, validation = _validation(parts, prepared)
    data = _data(parts, prepared, steps, dev)
    module = Distillation(
        prepared.student, parts.objective, parts.optim, steps, parts.seed, validation, chunk=training.chunk
    )
    speed, guard = Speed(sampler.batch_size, data), Nonfinite(training.nonfinite, training.log_every)
    monitor = None if validation is None else validation.name
    watching = [
        *_callbacks(parts, folder, data, guard, validation),
        *make(parts.callbacks, training, monitor, logs=bool(loggers) or not main),
        speed,
    ]
    trainer = training.make(steps, folder.path, watching, loggers, validate=validation is not None)
    _announce(parts, steps, validates=validation is not None)
    _tell_memory(parts, prepared, trainer.strategy.root_device)
    resume = to_resume(folder.checkpoints)
    if resume is not None:
        log.info("going on from %s", resume)
    start = time.perf_counter()
    # Lightning may start the other processes of the training here.
    with named(), resources.explained(folder.path, resources.sizes(parts.config)):
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        chosen, scored = _choose(parts, trainer, module, data, validation, folder.checkpoints)
    trained: Config = {
        "steps": trainer.global_step,
        "learning_rate": parts.optim.lr,
        "precision": training.precision,
        "seconds": round(time.perf_counter() - start, 1),
        "queries_per_second": round(speed.queries_per_second * trainer.world_size, 2),
        "tokens_per_second": round(speed.tokens_per_second * trainer.world_size),
        "waiting": round(speed.waiting, 4),
        "device": speed.device,
        "mfu": None if speed.mfu is None else round(speed.mfu, 4),
        "checkpoint": chosen.name,
        "skipped": guard.skipped,
        **scored,
    }
    if main:
        trained["step"] = load_student(chosen, prepared.student)
        write_json(folder.path / "trained.json", trained)
        (folder.checkpoints / PREVIOUS).unlink(missing_ok=True)
    return trained


def _validation(parts: Parts, prepared: Prepared) -> tuple[Run, Validation | None]:
    """Return the candidates of the dev queries, and how to evaluate the student on them during training."""
    stages, evaluation = prepared.stages, parts.evaluation
    if "dev" not in stages.collection.splits:
        return {}, None
    dev = stages.collection.split("dev")
    candidates = cut(stages.first_stage("dev"), evaluation.dev_depth)
    chosen = list(dev.queries)[: evaluation.dev_queries]
    judged = {query: dev.qrels[query] for query in chosen}
    run = {query: candidates[query] for query in chosen if query in candidates}
    documents = [document for ranking in run.values() for document in ranking.ids]
    searched = list(dict.fromkeys(documents)) if evaluation.dev_search else None
    return run, Validation(judged, prepared.collator, evaluation.metrics[0], searched, evaluation.search_depth)


def _data(parts: Parts, prepared: Prepared, steps: int, dev: Run) -> TrainingData:
    sampler, collator = parts.sampler, prepared.collator
    batches = steps * parts.training.accumulate
    lists = batches * sampler.batch_size * parts.training.world
    collator.prepare("query", lists)
    collator.prepare("document", lists * (sampler.positives + sampler.negatives))
    judged = prepared.stages.judged(prepared.pool) if parts.objective.over_batches else None
    return TrainingData(prepared.pool, sampler, collator, parts.seed, batches, dev, judged, prepared.targets)


def _callbacks(
    parts: Parts, folder: RunFolder, data: TrainingData, guard: Nonfinite, validation: Validation | None
) -> list[Callback]:
    training, refresh = parts.training, parts.sampler.refresh_ranks
    monitor = None if validation is None else validation.name
    found: list[Callback] = [RankRefresh(refresh, data)] if refresh else []
    found += [Record(folder.path, monitor)] if monitor else []
    found += [guard, Collapse(), SaveOnSignal(folder.checkpoints / LAST, training.log_every)]
    return [*found, *callbacks(folder.checkpoints, training.checkpoint_every, monitor)]


def _announce(parts: Parts, steps: int, *, validates: bool) -> None:
    training = parts.training
    for each in too_long(
        steps,
        optim=parts.optim,
        training=training,
        losses=parts.config["loss"],
        refresh_ranks=parts.sampler.refresh_ranks,
        validates=validates and training.validate_every > 0,
    ):
        log.warning("%s", each)
    queries = parts.sampler.batch_size * training.accumulate * training.world
    log.info("training: %d steps of %d queries, %s", steps, queries, training.precision)


def _tell_memory(parts: Parts, prepared: Prepared, device: torch.device) -> None:
    training = parts.training
    needs = memory.needs(prepared.student, parts.sampler, precision=training.precision, chunk=training.chunk)
    line, warns = memory.line(needs, memory.free(device), resources.sizes(parts.config))
    log.log(logging.WARNING if warns else logging.INFO, "%s", line)


def _choose(
    parts: Parts,
    trainer: lightning.Trainer,
    module: Distillation,
    data: TrainingData,
    validation: Validation | None,
    checkpoints: Path,
) -> tuple[Path, dict[str, float]]:
    """Save the last state, validate it if that is due, and return the checkpoint to keep with its value."""
    last, best = checkpoints / LAST, checkpoints / BEST
    trainer.save_checkpoint(last)
    if validation is None or not parts.training.validate_every:
        return last, {}
    found = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint) and each.monitor]
    score = None if found[0].best_model_score is None else float(found[0].best_model_score)
    keeps_last = parts.evaluation.checkpoint == "last"
    if score is not None and not keeps_last and trainer.global_step % parts.training.validate_every == 0:
        return best, {validation.name: score}  # ``best`` takes the last state into account
    latest = trainer.validate(module, datamodule=data, verbose=False)[0][validation.name]
    if score is None or keeps_last or latest > score:
        return last, {validation.name: latest}
    return best, {validation.name: score}
