"""One run from collection to table: candidates, teacher scores, lists, training, evaluation."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning

from limbeck.artefacts import Artefacts, write_json
from limbeck.backbones.sub_batches import compiled
from limbeck.config import ConfigError, build, part
from limbeck.data.collection import Collection, described
from limbeck.data.datamodule import TrainingData
from limbeck.data.pool import Pool
from limbeck.evaluation.pipeline import Pipeline, Row
from limbeck.evaluation.runs import cut
from limbeck.evaluation.settings import evaluation
from limbeck.experiment import assemble
from limbeck.experiment.engine import Engine
from limbeck.experiment.run_folder import RunFolder, main_process
from limbeck.experiment.sharing import Sharing
from limbeck.experiment.stages import Stages
from limbeck.experiment.suite import Model, Suite, of_set
from limbeck.experiment.teaching import Teaching
from limbeck.inspection.findings import check, first_stage_scores, report, settings
from limbeck.inspection.losses import views
from limbeck.processes import named
from limbeck.reporting.run_figures import of_run
from limbeck.text.collate import Collator
from limbeck.training import resources
from limbeck.training.checkpoints import BEST, LAST, PREVIOUS, callbacks, load_student, to_resume
from limbeck.training.guards import Collapse, Nonfinite
from limbeck.training.lengths import too_long
from limbeck.training.module import Distillation, Validation
from limbeck.training.objective import Objective
from limbeck.training.progress import Record, Speed, quiet
from limbeck.training.refresh import RankRefresh
from limbeck.training.signals import SaveOnSignal
from limbeck.training.tracking import Nothing
from limbeck.types import Run

log = logging.getLogger(__name__)


class Experiment:
    """A composed configuration, ready to run.

    Everything cheap is built and checked before the collection is opened, and everything at all before the first step.

    Parameters
    ----------
    config
        Plain containers.
    folder, run_id
        The folder of the run, and its name.
    """

    def __init__(self, config: dict[str, Any], folder: RunFolder, run_id: str) -> None:
        self.config = config
        self.folder = folder
        self.run_id = run_id
        self.seed = int(config["seed"])
        self.main = main_process(config)
        terms = {name: build(node, key=f"loss.{name}") for name, node in (config.get("loss") or {}).items()}
        self.objective = Objective(terms, order_only=_taught(config["teacher"]) == {"teacher_order"})
        self.sampler, self.training, self.pooling, self.tracker = (
            build(config[key], key=key) for key in ("sampler", "trainer", "pool", "logger")
        )
        self.optim = build(config["optim"], part(config["backbone"], key="backbone").learning_rate, key="optim")
        self.evaluation = evaluation(config["eval"])
        self.pooling.check(scored="teacher_scores" in _taught(config["teacher"]))
        if self.training.accelerator == "cpu":
            assemble.device("cpu", self.training.devices, key="trainer.devices")
        self.device = assemble.device(self.training.accelerator, self.evaluation.devices, key="eval.devices")
        self.candidates = assemble.candidates(of_set(config["candidates"], self.evaluation.split), self.device)
        self.data = described(config["data"])
        encodes = part(config["student"], key="student").fields
        self.objective.check({"labels", "ranks"} | _taught(config["teacher"]) | encodes)
        if self.training.chunk is not None:
            self.objective.check_chunks()
        with _named("eval"):
            self.evaluation.check(searches=part(config["student"], key="student").separable)
        self.checking = settings(config["checks"])
        self.artefacts = Artefacts(Path(config["paths"]["cache"]))
        sets, accelerator = config["eval"]["sets"] or {}, self.training.accelerator
        self.suite = Suite(self.evaluation, sets, config["candidates"], None, self.artefacts, accelerator, folder.path)

    def run(self) -> dict[str, Any] | None:
        """Run it; None in the children of a launcher."""
        rows: list[dict[str, Any]] = []
        failed = True
        tracker = self.tracker if self.main else Nothing()
        loggers = tracker.start(self.folder.path, self.config["name"], self.run_id, self.config)
        try:
            result = self._run(loggers, rows)
            failed = False
        finally:
            figures = partial(of_run, self.folder.path, self.evaluation.split, self.evaluation.metrics[0])
            tracker.finish(rows, figures, failed=failed)
        return result

    def _run(self, loggers: list[Any], rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        quiet()
        self.training.determine()
        lightning.seed_everything(self.seed, workers=True, verbose=False)
        collection = self.data.open(self.artefacts)
        log.info("%s", repr(collection))
        self.tested = collection.split(self.evaluation.split)
        device = self.device
        self.student, self.collator = assemble.ranker(
            self.config["student"], self.config["backbone"], collection, self.artefacts, anew=True
        )
        if self.training.compile:
            compiled(self.student)
        stages = Stages(collection, self.artefacts, self.candidates, self.pooling)
        teacher = self.config["teacher"]
        self.sharing = Sharing(
            self.evaluation.devices,
            self.config["data"],
            self.artefacts.root,
            self.training.accelerator,
            self.folder.path / ".shares",
        )
        teaching = assemble.teaching(teacher, collection, self.artefacts, device, self.sharing) if teacher else None
        first = stages.first_stage(self.evaluation.split)
        pool = stages.pool(teaching)
        if teaching is not None:
            self._check(pool, teaching, stages)
        pipeline = Pipeline(self.evaluation, self.tested.qrels, first, self.candidates.name, self.folder.path)
        if self.main:
            rows += self._before(pipeline, collection, teaching)
        teaching = None  # its memory is the student's now
        trained = self.folder.trained() or self._train(stages, pool, loggers)
        if not self.main:
            return None
        rows += self._after(pipeline, collection, trained)
        result = {
            "run_id": self.run_id,
            "name": self.config["name"],
            "collection": collection.name,
            "collection_fingerprint": collection.fingerprint,
            "split": self.evaluation.split,
            "rows": rows,
            "training": {**trained, "queries": len(pool)},
            "sets": self.suite.run([Model("student", "student, distilled", self.folder.path)]),
        }
        write_json(self.folder.path / "result.json", result)
        return result

    def _check(self, pool: Pool, teaching: Teaching, stages: Stages) -> None:
        """Look at the teacher's scores before anything is learned from them."""
        given = None if teaching.scores_on_demand else teaching.teacher.store.meta
        queries = self.checking["queries"]
        scores = None if given is None else first_stage_scores(pool, stages.first_stage("train"), queries)
        report(
            check(
                pool,
                meta=asdict(teaching.provenance) if given is None else given,
                objective=views(self.objective.terms.items()),
                collection_fingerprint=stages.collection.fingerprint,
                first_stage_scores=scores,
                **self.checking,
            )
        )

    # -- before training ------------------------------------------------------------------------------------------

    def _before(self, pipeline: Pipeline, collection: Collection, teaching: Teaching | None) -> list[Row]:
        """Evaluate what does not depend on training."""
        rows = [pipeline.first_stage(self.candidates.label)]
        if teaching is not None and self.evaluation.teacher:
            searching = None
            if teaching.searches:
                model, collator = teaching.teacher.ranker, teaching.teacher.collator
                engine = self._engine(model, collator, collection, self.config["teacher"])
                searching = partial(teaching.search, self.evaluation, list(self.tested.queries), engine.search)
            reranking = partial(teaching.rerank, split=self.evaluation.split)
            rows += pipeline.rows("teacher", "teacher", search=searching, rerank=reranking)
        if self.evaluation.start:
            rows += self._of_student(pipeline, collection, "start", "student, start")
        return rows

    # -- training -------------------------------------------------------------------------------------------------

    def _train(self, stages: Stages, pool: Pool, loggers: list[Any]) -> dict[str, Any]:
        steps = self.training.steps(len(pool), self.sampler.batch_size)
        dev, validation = self._validation(stages)
        monitor = validation.name if validation else None
        batches = steps * self.training.accumulate
        lists = batches * self.sampler.batch_size * self.training.world
        self.collator.prepare("query", lists)
        self.collator.prepare("document", lists * (self.sampler.positives + self.sampler.negatives))
        judged = stages.judged(pool) if self.objective.over_batches else None
        data = TrainingData(pool, self.sampler, self.collator, self.seed, batches, dev, judged)
        module = Distillation(
            self.student, self.objective, self.optim, steps, self.seed, validation, chunk=self.training.chunk
        )
        speed = Speed(self.sampler.batch_size, data)
        keep = callbacks(self.folder.checkpoints, self.training.checkpoint_every, monitor)
        extra: list[Any] = [RankRefresh(self.sampler.refresh_ranks, data)] if self.sampler.refresh_ranks else []
        extra += [Record(self.folder.path, monitor)] if monitor else []
        guard = Nonfinite(self.training.nonfinite, self.training.log_every)
        last, best = self.folder.checkpoints / LAST, self.folder.checkpoints / BEST
        extra += [guard, Collapse(), SaveOnSignal(last, self.training.log_every)]
        trainer = self.training.make(
            steps, self.folder.path, [*extra, *keep, speed], loggers, validate=monitor is not None
        )
        for each in too_long(
            steps,
            optim=self.optim,
            training=self.training,
            losses=self.config["loss"],
            refresh_ranks=self.sampler.refresh_ranks,
            validates=monitor is not None and self.training.validate_every > 0,
        ):
            log.warning("%s", each)
        resume = to_resume(self.folder.checkpoints)
        if resume is not None:
            log.info("going on from %s", resume)
        log.info(
            "training: %d steps of %d queries, %s",
            steps,
            self.sampler.batch_size * self.training.accumulate * self.training.world,
            self.training.precision,
        )
        start = time.perf_counter()
        # Lightning may start the other processes of the training.
        with named(), resources.explained(self.folder.path, resources.sizes(self.config)):
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
            chosen, scored = self._choose(trainer, module, data, validation, last, best)
        trained = {
            "steps": steps,
            "precision": self.training.precision,
            "seconds": round(time.perf_counter() - start, 1),
            "learning_rate": self.optim.lr,
            "queries_per_second": round(speed.queries_per_second * trainer.world_size, 2),
            "waiting": round(speed.waiting, 4),
            "checkpoint": chosen.name,
            "skipped": guard.skipped,
            **scored,
        }
        if self.main:
            trained["step"] = load_student(chosen, self.student)
            write_json(self.folder.path / "trained.json", trained)
            (self.folder.checkpoints / PREVIOUS).unlink(missing_ok=True)
        return trained

    def _validation(self, stages: Stages) -> tuple[Run, Validation | None]:
        if "dev" not in stages.collection.splits:
            return {}, None
        dev = stages.collection.split("dev")
        candidates = cut(stages.first_stage("dev"), self.evaluation.dev_depth)
        chosen = list(dev.queries)[: self.evaluation.dev_queries]
        judged = {query: dev.qrels[query] for query in chosen}
        run = {query: candidates[query] for query in chosen if query in candidates}
        return run, Validation(judged, self.collator, self.evaluation.metrics[0])

    def _choose(
        self,
        trainer: lightning.Trainer,
        module: Distillation,
        data: TrainingData,
        validation: Validation | None,
        last: Path,
        best: Path,
    ) -> tuple[Path, dict[str, float]]:
        """Save the last state, measure it if that is due, and return the checkpoint to keep."""
        trainer.save_checkpoint(last)
        if validation is None or not self.training.validate_every:
            return last, {}
        monitored = [item for item in trainer.checkpoint_callbacks if getattr(item, "monitor", None)]
        score = monitored[0].best_model_score  # pyright: ignore[reportAttributeAccessIssue]
        keeps_last = self.evaluation.checkpoint == "last"
        if score is not None and not keeps_last and trainer.global_step % self.training.validate_every == 0:
            return best, {validation.name: float(score)}  # the last state was measured, and is the best if it is better
        latest = trainer.validate(module, datamodule=data, verbose=False)[0][validation.name]
        if score is None or keeps_last or latest > float(score):
            return last, {validation.name: latest}
        return best, {validation.name: float(score)}

    # -- after training -------------------------------------------------------------------------------------------

    def _after(self, pipeline: Pipeline, collection: Collection, trained: dict[str, Any]) -> list[Row]:
        load_student(self.folder.checkpoints / trained["checkpoint"], self.student)
        self._save_model()
        return self._of_student(pipeline, collection, "student", "student, distilled")

    def _save_model(self) -> None:
        """Save the student as a Hugging Face folder: usable as backbone or teacher, here and elsewhere."""
        assemble.save(self.student, self.collator.tokenizer, self.folder.model, self.config["student"], self.run_id)

    def _of_student(self, pipeline: Pipeline, collection: Collection, key: str, system: str) -> list[Row]:
        """Evaluate the student as it is now."""
        engine = self._engine(self.student, self.collator, collection, self.config)
        searching = partial(engine.search, list(self.tested.queries)) if self.student.separable else None
        return pipeline.rows(key, system, search=searching, rerank=engine.rerank)

    def _engine(self, ranker: Any, collator: Collator, collection: Collection, nodes: Mapping[str, Any]) -> Engine:
        own = {name: nodes[name] for name in ("student", "backbone")}
        return Engine(ranker, collator, collection, self.evaluation, self.device, own, self.sharing)


def _taught(teacher: Mapping[str, Any] | None) -> set[str]:
    """Return what batches will have of the teacher."""
    if not teacher:
        return set()
    return {"teacher_order"} if teacher.get("use") == "ranks" else {"teacher_order", "teacher_scores"}


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Prefix what a part says of its options with its key."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from None
