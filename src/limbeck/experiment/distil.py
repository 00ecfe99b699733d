"""One run from collection to table: prepare, train, evaluate."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning.pytorch.loggers import Logger

from limbeck.artefacts import Artefacts
from limbeck.config import Config
from limbeck.evaluation.pipeline import Row
from limbeck.experiment import assemble
from limbeck.experiment.fitting import fit
from limbeck.experiment.parts import Parts
from limbeck.experiment.prepared import Prepared, prepare
from limbeck.experiment.run_folder import RunFolder, main_process
from limbeck.experiment.suite import Model, Suite
from limbeck.reporting.run_figures import of_run
from limbeck.training.checkpoints import load_student
from limbeck.training.tracking import Nothing, rows_of_sets


class Experiment:
    """A composed configuration, ready to run.

    The constructor builds and checks everything that is cheap, before the collection is opened; the rest is checked
    before the first step.

    Parameters
    ----------
    config
        A composed configuration of ``conf/train.yaml`` as plain containers.
    folder, run_id
        Folder and name of the run.
    """

    def __init__(self, config: Config, folder: RunFolder, run_id: str) -> None:
        self.config = config
        self.folder = folder
        self.run_id = run_id
        self.main = main_process(config)
        self.parts = parts = Parts(config)
        self.artefacts = Artefacts(Path(config["paths"]["cache"]))
        sets, accelerator = config["eval"]["sets"] or {}, parts.training.accelerator
        self.suite = Suite(parts.evaluation, sets, config["candidates"], None, self.artefacts, accelerator, folder.path)

    def run(self) -> Config | None:
        """Run it, and return the contents of ``result.json``; None in the child processes of a launcher."""
        evaluation = self.parts.evaluation
        tracker = self.parts.tracker if self.main else Nothing()
        loggers = tracker.start(self.folder.path, self.config["name"], self.run_id, self.config)
        rows: list[Row] = []
        failed = True
        result = None
        try:
            prepared = self.prepare()
            rows += prepared.rows
            trained = self.train(prepared, loggers)
            result = self.evaluate(prepared, trained, rows) if self.main else None
            failed = False
        finally:
            figures = partial(of_run, self.folder.path, evaluation.split, evaluation.metrics[0])
            # Rows of other sets carry the name of their set.
            others = [] if result is None else rows_of_sets(result["sets"])
            tracker.finish([*rows, *others], figures, failed=failed)
        return result

    def prepare(self) -> Prepared:
        """Open the collection, build the student, score the pool, evaluate what does not depend on training."""
        return prepare(self.parts, self.artefacts, self.folder.path, evaluates=self.main)

    def train(self, prepared: Prepared, loggers: Sequence[Logger] = ()) -> Config:
        """Train the student unless it is trained already, and return the contents of ``trained.json``.

        The student then has the weights of the chosen checkpoint, in the main process.
        """
        trained = self.folder.trained()
        if trained is None:
            return fit(self.parts, prepared, self.folder, list(loggers), main=self.main)
        if self.main:
            load_student(self.folder.checkpoints / trained["checkpoint"], prepared.student)
        return trained

    def evaluate(self, prepared: Prepared, trained: Config, rows: list[Row]) -> Config:
        """Save the trained student, add its rows to the existing ones, and write ``result.json``."""
        student, collator, collection = prepared.student, prepared.collator, prepared.stages.collection
        node, place = self.config["student"], self.folder.model
        assemble.save(student, collator.tokenizer, place, node, self.run_id, prepared.space)
        label, found_by = "student, distilled", {}
        if not self.parts.training.compile:  # the sets get the saved model: a compiled one may round differently
            data = self.config["data"]["collection"]
            found_by["search"] = self.suite.before("student", data, collection, student, collator)
        rows += prepared.systems.student("student", label, student, collator, self.config, **found_by)
        result: Config = {
            "run_id": self.run_id,
            "name": self.config["name"],
            "collection": collection.name,
            "collection_fingerprint": collection.fingerprint,
            "split": self.parts.evaluation.split,
            "rows": rows,
            "training": {**trained, "queries": len(prepared.pool)},
            **({} if prepared.degraded is None else {"degraded": prepared.degraded}),
            "sets": self.suite.run([Model("student", label, self.folder.path)]),
        }
        self.folder.finish(result)
        return result
