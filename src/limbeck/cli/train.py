"""``limbeck train``: one run, or one job of a sweep."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.cli.errors import as_plain, explain, fail
from limbeck.cli.folder import RunFolder, console, main_process
from limbeck.config import ConfigError, run_id

log = logging.getLogger(__name__)

_KEYS = (
    "name", "seed", "force", "data", "candidates", "pool", "sampler", "teacher", "backbone", "student", "loss", "optim",
    "trainer", "eval", "checks", "logger", "paths",
)  # fmt: skip

_outcomes: list[dict[str, Any]] = []
"""What became of the jobs of this process's sweep."""


def run(config: Any) -> None:
    """Make one run, or show it if it is finished. In a sweep, a failure is noted and the next job goes on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    console()
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        _train(config, hydra.overrides.task)
        return
    job = [word for word in hydra.overrides.task if word not in sys.argv]  # what is swept over, not what was typed
    log.info("\n[%d] %s", hydra.job.num + 1, " ".join(job))
    outcome: dict[str, Any] = {"overrides": job, "name": config.name}
    try:
        if config.trainer.devices * config.trainer.num_nodes > 1:
            raise ConfigError(
                "a sweep uses one device a run: set trainer.devices=1 trainer.num_nodes=1 "
                "(several processes of one run would each start the whole sweep again)"
            )
        outcome |= _train(config, hydra.overrides.task, quiet=True)
    except Exception as error:
        outcome["error"] = explain(error) or f"{type(error).__name__}: {error}"
        log.error("failed: %s", outcome["error"])
    _outcomes.append(outcome)


def finish() -> None:
    """Show the table of a sweep; end non-zero if a job failed."""
    outcomes = _outcomes.copy()
    _outcomes.clear()
    if not outcomes:
        return
    from limbeck.cli.sweep import show

    show(outcomes)
    failed = [outcome for outcome in outcomes if "error" in outcome]
    if failed:
        told = "\n".join(f"  {' '.join(outcome['overrides'])}: {outcome['error']}" for outcome in failed)
        fail(f"{len(failed)} of {len(outcomes)} runs failed; the same command makes only what is missing\n{told}", 1)


def _train(config: Any, overrides: Sequence[str], quiet: bool = False) -> dict[str, Any]:
    from limbeck.results.finished import check_whole, whole
    from limbeck.tables import show_result

    plain = as_plain(config, _KEYS)
    identity = run_id(plain)
    folder = RunFolder(Path(plain["paths"]["runs"]) / plain["name"] / identity)
    result = None if plain["force"] else folder.result()
    if whole(result):
        log.info("%s is finished; force=true runs it anew", folder.path)
    else:
        start = time.perf_counter()
        if plain["force"] and main_process():
            folder.clear()
        from limbeck.cli.experiment import Experiment

        with folder.opened(plain, overrides):
            result = Experiment(plain, folder, identity).run()
        if result is None:
            return {}  # a child of a launcher; the first process has the result
        log.info("%s: %.0f s", folder.path, time.perf_counter() - start)
    assert result is not None
    if not quiet:
        show_result(result)
    check_whole(result.get("sets") or {})
    return {"folder": str(folder.path), "result": result}
