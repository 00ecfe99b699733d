"""Everything that exists before the first step of a training: collection, student, pool with teacher scores."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning

from limbeck.artefacts import Artefacts
from limbeck.backbones.sub_batches import compiled
from limbeck.config import Config
from limbeck.data.pool import Pool
from limbeck.data.targets import Targets
from limbeck.evaluation.pipeline import Row
from limbeck.experiment import assemble, spaces
from limbeck.experiment.degraded import Degraded
from limbeck.experiment.parts import Parts
from limbeck.experiment.sharing import SHARES, Sharing
from limbeck.experiment.stages import Stages
from limbeck.experiment.start import Start
from limbeck.experiment.systems import Systems
from limbeck.experiment.teaching import Stored, Teaching
from limbeck.inspection.findings import check, report
from limbeck.inspection.losses import views
from limbeck.students.base import Student
from limbeck.text.collate import Collator
from limbeck.training.progress import quiet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What a student is trained and evaluated with."""

    stages: Stages
    """The collection and its candidates."""
    pool: Pool
    """The pool of training lists, with the teacher's scores if there is a teacher."""
    student: Student
    collator: Collator
    """Has the student's tokenizer and the collection's texts."""
    systems: Systems
    """The systems to evaluate, on the evaluated split."""
    rows: Sequence[Row]
    """Results of the systems that do not depend on training."""
    targets: Targets | None = None
    """The teacher's vectors, for losses on embeddings."""
    space: Config | None = None
    """The vector space that these losses train the student into, for the record."""
    degraded: Config | None = None
    """How the teacher was degraded."""


def prepare(parts: Parts, artefacts: Artefacts, folder: Path, *, evaluates: bool) -> Prepared:
    """Seed everything, open the collection, build the student, score the pool, evaluate what training does not change.

    The teacher is not kept: the student needs its memory.

    Parameters
    ----------
    parts
        The parts of the run.
    artefacts
        The cache of indexes, pools and scores.
    folder
        Run folder.
    evaluates
        Whether this process evaluates; the other processes of a run need only the pool.

    Raises
    ------
    ConfigError
        The collection lacks a split, teacher scores are missing or would ruin the training, or a model does not fit.
    """
    quiet()
    parts.training.determine()
    lightning.seed_everything(parts.seed, workers=True, verbose=False)
    config, evaluation = parts.config, parts.evaluation
    collection = parts.data.open(artefacts)
    log.info("%s", repr(collection))
    collection.split(evaluation.split)  # raises at once if the split is missing
    student, collator = assemble.ranker(config["student"], config["backbone"], collection, artefacts, anew=True)
    if parts.training.compile:
        compiled(student)
    stages = Stages(collection, artefacts, parts.candidates, parts.pooling)
    accelerator = parts.training.accelerator
    sharing = Sharing(evaluation.devices, config["data"], artefacts.root, accelerator, folder / SHARES)
    teacher = config["teacher"]
    teaching = assemble.teaching(teacher, collection, artefacts, parts.device, sharing) if teacher else None
    spaces.check_fit(parts.objective, student, teaching)
    first = stages.first_stage(evaluation.split)
    pool = stages.pool(teaching)
    if teaching is not None:
        _check(parts, stages, pool, teaching)
    targets = spaces.targets(parts.objective, teaching, teacher, pool, collection, artefacts)
    systems = Systems(collection, evaluation.split, parts.candidates, first, evaluation, parts.device, sharing, folder)
    rows = []
    if evaluates:
        rows.append(systems.first_stage())
        if teaching is not None and evaluation.teacher:
            rows += systems.teacher(teaching, teacher)
        if evaluation.start:
            start = Start(config, collection, artefacts)
            rows += systems.student("start", "student, start", student, collator, config, start.search, start.rerank)
    space = spaces.space(parts.objective, teaching)
    degraded = teaching.said(pool.query_ids) if isinstance(teaching, Degraded) else None
    return Prepared(stages, pool, student, collator, systems, rows, targets, space, degraded)


def _check(parts: Parts, stages: Stages, pool: Pool, teaching: Teaching) -> None:
    """Check the teacher's scores before anything is trained on them."""
    first = pool.first_stage if isinstance(teaching, Stored) else None  # a model cannot score another collection
    report(
        check(
            pool,
            meta=teaching.meta,
            objective=views(parts.objective.terms.items()),
            collection_fingerprint=stages.collection.named(teaching.meta.get("collection")),
            first_stage_scores=first,
            **parts.checks,
        )
    )
