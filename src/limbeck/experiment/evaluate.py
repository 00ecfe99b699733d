"""Evaluate students, teachers and run files on sets, and compare finished results."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import Config, ConfigError, Node, build, fingerprint
from limbeck.experiment.run_folder import RunFolder, below
from limbeck.rankings import Row

if TYPE_CHECKING:
    from limbeck.evaluation.comparison import Comparing
    from limbeck.experiment.evaluating import Evaluating
    from limbeck.reporting.results.finished import Member

log = logging.getLogger(__name__)


def evaluate(plain: Config, overrides: Sequence[str]) -> Config:
    """Evaluate, compare, or both; print the tables.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/evaluate.yaml`` as plain containers.
    overrides
        The overrides it was composed from, for the record.

    Returns
    -------
    dict
        ``folder`` of the results. After an evaluation ``systems``, ``sets`` and their ``average``, as in
        ``result.json``; after a comparison ``comparisons``.
    """
    _check_asked(plain)
    settings: Comparing = build(plain["comparison"], key="comparison")
    if plain["compare"] is not None:
        return _compare(plain, settings)
    return _evaluate(plain, settings, overrides)


def _check_asked(config: Node) -> None:
    """Refuse contradictory options before anything is opened."""
    asked = [key for key in ("run", "run_file", "compare") if config[key] is not None]
    if not asked and not config["eval"]["sets"]:
        raise ConfigError(
            "nothing to evaluate: give run=FOLDER (a student), run_file=FILE with qrels=FILE (a ranking), a preset "
            "(eval=beir_13) for the first stage alone, or compare=[FOLDER,FOLDER] baseline=FOLDER"
        )
    if config["index"] is not None and config["run"] is None:
        raise ConfigError("index holds encoded documents; name the student that searches them: run=FOLDER")
    if "compare" in asked:
        others = [key for key in asked if key != "compare"]
        if others:
            raise ConfigError(f"compare only reads what is finished: evaluate {' and '.join(others)} first")
        if config["baseline"] is None:
            raise ConfigError(
                "baseline must be given: first_stage, teacher, or one of compare=[…] that the others are compared with"
            )
    if config["qrels"] is not None and config["run_file"] is None:
        raise ConfigError("qrels are for run_file=FILE; for a student give its collection (eval=folder …)")
    if config["qrels"] is not None and config["eval"]["sets"]:
        raise ConfigError("qrels and eval.sets both name judgments; give one of them")
    if config["run_file"] is not None and config["qrels"] is None and len(config["eval"]["sets"] or {}) != 1:
        raise ConfigError(
            "run_file needs judgments: qrels=FILE, or one set (eval=trec_dl_2019, or eval=folder "
            "eval.sets.folder.collection=DIR)"
        )


# -- comparing --------------------------------------------------------------------------------------------------------


def _compare(config: Node, settings: "Comparing") -> Config:
    from limbeck.reporting.results.finished import members

    root = Path(config["paths"]["runs"])
    systems = members(config["compare"], key="compare", root=root)
    baseline, systems = _baseline(config["baseline"], systems, root)
    identity = fingerprint({"compare": config["compare"], "baseline": baseline, "metrics": config["metrics"]})[:8]
    out = below(config["paths"]["runs"], config["name"]) / identity
    return {"folder": str(out), "comparisons": _report(config, settings, systems, baseline, out)}


def _baseline(given: str, systems: "list[Member]", root: Path) -> "tuple[str, list[Member]]":
    """Return the name of the baseline (one of the systems, or a folder that is added to them), and all systems."""
    from limbeck.reporting.results.finished import BESIDE, beside, members

    names = list(dict.fromkeys(system.name for system in systems))
    if given in names:
        return given, systems
    if given in BESIDE:
        first = beside(systems, given, key="baseline")
        return first.name, systems if first.name in names else [first, *systems]
    known = ", ".join([*names, *BESIDE])
    try:
        places = [set(map(str, each.places.values())) for each in members([given], key="baseline", root=root)]
    except ConfigError:
        raise ConfigError(f"baseline: {given!r} is none of the systems: {known}") from None
    found = {each.name for each in systems if set(map(str, each.places.values())) in places}
    if len(found) != 1:
        raise ConfigError(f"baseline: {given!r} must be one of the systems compared: {known}")
    return found.pop(), systems


def _report(config: Node, settings: "Comparing", systems: Sequence["Member"], baseline: str, out: Path) -> list[Config]:
    from limbeck.artefacts import Artefacts
    from limbeck.reporting.comparing import report

    return report(
        systems,
        baseline,
        metrics=config["metrics"],
        settings=settings,
        count=config["moved"],
        artefacts=Artefacts(Path(config["paths"]["cache"])),
        out=out,
    )


def _tracked(work: "Evaluating", folder: Path, config: Config) -> Config:
    """Evaluate, and send the tables to the logger."""
    from limbeck.training.tracking import Tracker, rows_of_sets

    tracker: Tracker = build(config["logger"], key="logger")
    tracker.start(folder, config["name"], folder.name, config, verb="evaluate")
    rows: list[Row] = []
    failed = True
    try:
        result = work.run(folder)
        rows += rows_of_sets(result["sets"])
        failed = False
    finally:
        tracker.finish(rows, lambda: sorted((folder / "figures").glob("*.png")), failed=failed)
    return result


# -- evaluating -------------------------------------------------------------------------------------------------------


def _evaluate(config: Config, settings: "Comparing", overrides: Sequence[str]) -> Config:
    from limbeck.experiment.evaluating import Evaluating
    from limbeck.reporting.results.finished import members, whole

    work = Evaluating(config)
    baseline = work.baseline()
    folder = RunFolder(below(config["paths"]["runs"], config["name"]) / work.identity)

    def finished() -> Config | None:
        found = None if config["force"] else folder.result()
        return found if found is not None and whole(found) else None

    result = finished()
    if result is None:
        with folder.opened(config, overrides):
            result = finished()  # finished by another process in the meantime
            anew = result is None
            result = result or _tracked(work, folder.path, config)
    else:
        anew = False
    if not anew:
        log.info("%s is finished; force=true evaluates it again", folder.path)
        work.show(result)
    found = {"folder": str(folder.path), **result}
    if baseline is not None:
        systems = members([str(folder.path)], key="run")
        name = result["systems"][baseline]["name"]
        found["comparisons"] = _report(config, settings, systems, name, folder.path)
    if config["calibration"]:
        work.calibrate(folder.path, config["calibration"])
    return found
