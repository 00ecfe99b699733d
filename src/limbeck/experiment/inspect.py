"""Inspect teacher scores before anything is trained on them."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from limbeck.artefacts import Artefacts, write_json
from limbeck.config import Config, ConfigError, Node, build
from limbeck.data.pool import Pool
from limbeck.evaluation.qrels import read_qrels
from limbeck.evaluation.runs import read_run
from limbeck.experiment import assemble
from limbeck.experiment.stages import Stages
from limbeck.experiment.suite import of_set
from limbeck.experiment.teaching import OnDemand
from limbeck.inspection.findings import check, first_stage_scores, settings
from limbeck.inspection.losses import views
from limbeck.inspection.measures import measure
from limbeck.inspection.page import page
from limbeck.inspection.pictures import draw
from limbeck.inspection.printing import rows, show
from limbeck.inspection.summary import hardest, summarise
from limbeck.inspection.trec import bare_pool
from limbeck.scores.kinds import described
from limbeck.types import Qrels, Run
from limbeck.unfinished import write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """The teacher scores to inspect."""

    pool: Pool
    """With scores, NaN where the teacher has none."""
    source: dict[str, str]
    """Where they come from, in words."""
    meta: Node = field(default_factory=dict)
    fingerprint: str | None = None
    first_stage_scores: np.ndarray | None = None


def inspect(plain: Config) -> Config:
    """Write ``inspect.json``, ``inspect.html`` and figures about teacher scores; print and return the report.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/inspect.yaml`` as plain containers.
    """
    if not isinstance(plain["run"], str | None):
        raise ConfigError("run must be one TREC run file, got several")
    chosen = settings(plain["checks"])
    objective = views((name, build(node, key=f"loss.{name}")) for name, node in (plain["loss"] or {}).items())
    opened = _bare(plain, chosen["queries"]) if plain["run"] else _as_trained(plain, chosen["queries"])
    pool = opened.pool
    measures = measure(pool, chosen["queries"])
    findings = check(
        pool,
        meta=opened.meta,
        objective=objective,
        collection_fingerprint=opened.fingerprint,
        first_stage_scores=opened.first_stage_scores,
        measures=measures,
        **chosen,
    )
    figures = summarise(pool, measures, objective)
    report = {
        "source": {**opened.source, "losses": ", ".join(view.name for view in objective)},
        "meta": dict(opened.meta),
        "findings": [vars(finding) for finding in findings],
        "ignored": chosen["ignore"],
        "figures": figures,
        "hardest": hardest(pool, measures),
    }
    folder = Path(plain["out"])
    folder.mkdir(parents=True, exist_ok=True)
    shown = [("kind of number", described(opened.meta)), *rows(figures)]
    write_json(folder / "inspect.json", report)
    pictures = draw(folder, pool, measures, figures)
    write_text(folder / "inspect.html", page(report, shown, pictures))
    show(report, shown)
    log.info("%s", folder / "inspect.html")
    return report


def _bare(plain: Node, queries: int | None) -> Opened:
    if not plain["qrels"]:
        raise ConfigError("qrels must be given with run: qrels=FILE with judgments of the run's queries")
    first_stage = _run(plain, "first_stage") if plain["first_stage"] else None
    relevant = plain["pool"]["relevant"]
    qrels: Qrels = {
        query: {document: grade for document, grade in judged.items() if grade >= relevant}
        for query, judged in read_qrels(_file(plain, "qrels")).items()
    }
    bare = bare_pool(_run(plain, "run"), qrels, first_stage)
    for count, what in (
        (bare.unlisted, "judged queries have no list"),
        (bare.unjudged, "queries have a list but no positive in it, and are left out"),
        (bare.unfound, "positives stand in no list"),
    ):
        if count:
            log.warning("%d %s", count, what)
    return Opened(
        pool=bare.pool,
        source={name: str(plain[name]) for name in ("run", "qrels", "first_stage") if plain[name]},
        first_stage_scores=None if first_stage is None else first_stage_scores(bare.pool, first_stage, queries),
    )


def _run(plain: Node, key: str) -> Run:
    path = _file(plain, key)
    try:
        found = read_run(path)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    if not found:
        raise ConfigError(f"{key}: {path}: the file is empty")
    return found


def _file(plain: Node, key: str) -> Path:
    path = Path(plain[key])
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {path}")
    return path


def _as_trained(plain: Node, queries: int | None) -> Opened:
    """Open what ``limbeck train`` would open, but keep pairs without a teacher score."""
    if not plain["teacher"]:
        raise ConfigError("teacher is none: there are no scores to look at; choose a teacher, or give run=FILE")
    device = assemble.device(plain["trainer"]["accelerator"])
    candidates = assemble.candidates(of_set(plain["candidates"], plain["eval"]["split"]), device)
    pooling = build(plain["pool"], key="pool")
    artefacts = Artefacts(Path(plain["paths"]["cache"]))
    collection = assemble.collection(plain["data"], artefacts)
    stages = Stages(collection, artefacts, candidates, pooling)
    teaching = assemble.teaching(plain["teacher"], collection, artefacts, device)
    if isinstance(teaching, OnDemand):
        pool = stages.pool(teaching)
        first_stage = None  # only stored scores can belong to another collection
    else:
        # Without the policy for missing scores, which would hide them.
        whole = stages.pool()
        pool = pooling.denoise(replace(whole, scores=teaching.scores_of(whole)))
        first_stage = pool.first_stage
    return Opened(
        pool=pool,
        source={
            "teacher": str(teaching.meta["teacher"]),
            "collection": collection.name,
            "candidates": candidates.label,
        },
        meta=teaching.meta,
        fingerprint=collection.named(teaching.meta.get("collection")),
        first_stage_scores=first_stage,
    )
