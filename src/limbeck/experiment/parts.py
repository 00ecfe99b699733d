"""The parts of a run: everything that a composed configuration builds before data are opened."""

import contextlib
from collections.abc import Iterator

from limbeck.config import Config, ConfigError, Node, build, part
from limbeck.data.opening import Data, described
from limbeck.data.pooling import Pooling
from limbeck.data.sampling import ListSampler
from limbeck.evaluation.settings import evaluation
from limbeck.experiment import assemble, emulated
from limbeck.experiment.suite import of_set
from limbeck.inspection.findings import settings
from limbeck.students import context
from limbeck.training.objective import Objective
from limbeck.training.optim import AdamW
from limbeck.training.tracking import Tracker
from limbeck.training.trainer import Training


class Parts:
    """The parts of a run, each checked alone and against the others.

    Parameters
    ----------
    config
        A composed configuration of ``conf/train.yaml`` as plain containers.

    Raises
    ------
    ConfigError
        A part refuses its options, or two parts do not fit together.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seed = int(config["seed"])
        taught = _taught(config["teacher"])
        terms = {name: build(node, key=f"loss.{name}") for name, node in (config.get("loss") or {}).items()}
        self.objective = Objective(terms, order_only=taught == {"teacher_order"})
        self.sampler: ListSampler = build(config["sampler"], key="sampler")
        rate = build(config["backbone"], key="backbone").learning_rate
        self.optim: AdamW = build(config["optim"], rate, key="optim")
        self.training: Training = build(config["trainer"], key="trainer")
        self.pooling: Pooling = build(config["pool"], key="pool")
        self.tracker: Tracker = build(config["logger"], key="logger")
        asked = config.get("callbacks") or {}
        self.callbacks = {name: build(node, key=f"callbacks.{name}") for name, node in asked.items()}
        self.evaluation = evaluation(config["eval"])
        self.pooling.check(scored="teacher_scores" in taught)
        if self.training.accelerator == "cpu":
            assemble.device("cpu", self.training.devices, key="trainer.devices")
        self.device = assemble.device(self.training.accelerator, self.evaluation.devices, key="eval.devices")
        emulated.warn(config, self.device)
        self.candidates = assemble.candidates(of_set(config["candidates"], self.evaluation.split), self.device)
        self.data: Data = described(config["data"])
        student = part(config["student"], key="student")
        context.check(config["student"], config["backbone"])
        self.objective.check({"labels", "ranks"} | taught | student.fields)
        if self.training.chunk is not None:
            self.objective.check_chunks()
        with _named("eval"):
            self.evaluation.check(searches=student.separable)
        self.checks = settings(config["checks"])


def _taught(teacher: Node | None) -> set[str]:
    """Return the names of the teacher's values that batches will contain."""
    if not teacher:
        return set()
    if "of" in teacher:
        return _taught(teacher["of"]) & {"teacher_order", "teacher_scores"}
    found = {"teacher_order"} if teacher.get("use") == "ranks" else {"teacher_order", "teacher_scores"}
    encodes = teacher.get("student") and "vectors" in part(teacher["student"], key="teacher.student").fields
    return found | ({"teacher_vectors"} if encodes else set())


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Put a part's key before its error message."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from None
