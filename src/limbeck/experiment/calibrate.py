"""Calibration: how closely finished students match their teacher, on training lists and on lists of test queries."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.analysis.calibration import Calibration, Summary, measure, summarise
from limbeck.artefacts import Artefacts, write_json
from limbeck.config import ConfigError, Node, build
from limbeck.data.pool import Pool
from limbeck.experiment import assemble
from limbeck.experiment.stages import Stages
from limbeck.experiment.systems import nodes_of
from limbeck.inference import score_lists
from limbeck.reporting import figures
from limbeck.reporting.results.systems import Named, config
from limbeck.reporting.terminal import show_rows
from limbeck.unfinished import whole_file

log = logging.getLogger(__name__)

_SHOWN = ("kl", "kl_positives", "kl_negatives", "teacher_mass", "student_mass")


def calibrate(
    runs: Sequence[Named], lists: int, *, artefacts: Artefacts, accelerator: str, bf16: bool, out: Path
) -> list[Summary]:
    """Measure the students of finished runs; print a table, and write ``calibration.parquet``, ``.json`` and a figure.

    Lists of test queries are built by the same rules as those of training queries.

    Parameters
    ----------
    runs
        Finished runs with a teacher; runs of the same name differ by seed.
    lists
        Number of training queries, and of test queries, that are measured; chosen by a hash of their ids.
    artefacts, accelerator, bf16
        As for an evaluation.
    out
        Output folder.

    Raises
    ------
    ConfigError
        A run has no teacher.
    """
    found: dict[tuple[str, str], list[Calibration]] = {}
    columns: dict[str, list[object]] = {name: [] for name in ("system", "seed", "split", "query_id")}
    measured: list[Calibration] = []
    for named in runs:
        for split, (queries, calibration) in _measured(named, lists, artefacts, accelerator, bf16).items():
            found.setdefault((named.name, split), []).append(calibration)
            measured.append(calibration)
            for name, value in (("system", named.name), ("seed", named.seed), ("split", split)):
                columns[name] += [value] * len(queries)
            columns["query_id"] += queries
    try:
        summaries = summarise(found)
    except ValueError as error:
        raise ConfigError(f"calibration: {error}") from None
    if not summaries:
        raise ConfigError("calibration: no list has a score of every document, a positive and a negative")
    values = {name: np.concatenate([getattr(each, name) for each in measured]) for name in asdict(measured[0])}
    with whole_file(out / "calibration.parquet") as unfinished:
        pq.write_table(pa.table({**columns, **values}), unfinished)
    write_json(out / "calibration.json", [asdict(each) for each in summaries])
    _show(summaries)
    (out / "figures").mkdir(exist_ok=True)
    figures.calibration(out / "figures" / "calibration.png", summaries)
    return summaries


def _show(summaries: Sequence[Summary]) -> None:
    rows = [
        {"system": each.system, "split": each.split, "lists": each.subset, "n": str(each.lists)}
        | {column: each.means[name].value for name, column in zip(_SHOWN, _COLUMNS, strict=True)}
        | {"± KL": each.means["kl"].half_width}
        for each in summaries
    ]
    title = "KL from the teacher to the student per list, its parts, and the share of the positives"
    show_rows(rows, ["system", "split", "lists", "n"], title, bold=False)


_COLUMNS = ("KL", "on positives", "on negatives", "teacher's share", "student's share")


def _measured(
    named: Named, lists: int, artefacts: Artefacts, accelerator: str, bf16: bool
) -> dict[str, tuple[list[str], Calibration]]:
    trained_with = config(named.path)
    if not trained_with.get("teacher"):
        raise ConfigError(f"calibration: the run {named.path} has no teacher to be compared with; set calibration=0")
    device = assemble.device(accelerator)
    collection = assemble.collection(trained_with["data"], artefacts)
    teaching = assemble.teaching(trained_with["teacher"], collection, artefacts, device)
    candidates = assemble.candidates(trained_with["candidates"], device)
    stages = Stages(collection, artefacts, candidates, build(trained_with["pool"], key="pool"))
    nodes = nodes_of(named.path)
    ranker, collator = assemble.ranker(nodes["student"], nodes["backbone"], collection, artefacts)
    ranker.to(device)
    temperatures = _temperatures(trained_with.get("loss") or {})
    found = {}
    for split in ("train", trained_with["eval"]["split"]):
        pool = _some(stages.pool(split=split), lists)
        try:
            pool = teaching.scored(pool)
        except ConfigError as error:
            log.warning("%s: no calibration on %s queries: %s", named.name, split, error)
            continue
        scored = score_lists(ranker, collator, pool.lists(), bf16=bf16)
        student = np.concatenate([scored[query] for query in pool.query_ids])
        assert pool.scores is not None
        calibration = measure(pool.scores, student, pool.labels > 0, pool.offsets, **temperatures)
        found[split] = pool.query_ids, calibration
    return found


def _some(pool: Pool, count: int) -> Pool:
    """Return the lists of ``count`` queries, chosen by a hash of their ids."""
    by_hash = sorted(pool.query_ids, key=lambda query: hashlib.sha256(query.encode()).digest())
    chosen = set(by_hash[:count])
    return pool.select(np.repeat([query in chosen for query in pool.query_ids], np.diff(pool.offsets)))


def _temperatures(loss: Node) -> dict[str, float]:
    """Return the temperatures of the first loss that has any: there the student should match the teacher."""
    names = ("student_temperature", "teacher_temperature")
    for term in loss.values():
        if all(name in term for name in names):
            return {name: float(term[name]) for name in names}
    return {}
