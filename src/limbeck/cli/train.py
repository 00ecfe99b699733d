"""``limbeck train``: one run. Those of a sweep are made by :mod:`limbeck.experiment.sweep`."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from limbeck.cli.errors import as_plain
from limbeck.config import run_id
from limbeck.experiment.run_folder import RunFolder, below, console, main_process

log = logging.getLogger(__name__)

_KEYS = (
    "name", "seed", "force", "dry_run", "data", "candidates", "pool", "sampler", "teacher", "backbone", "student",
    "loss", "optim", "trainer", "eval", "checks", "logger", "launcher", "paths",
)  # fmt: skip


def run(config: Any) -> None:
    """Make a run, or show it if it is finished."""
    from hydra.core.hydra_config import HydraConfig

    console(main=main_process(config))
    overrides = HydraConfig.get().overrides.task
    plain, folder = plan(config, overrides)
    if plain["dry_run"]:
        print(f"{folder.path}: {folder.state()}")
        return
    result = made(plain, folder, overrides)
    if result is None:
        return  # a child of a launcher; the first process has the result
    from limbeck.reporting.results.finished import check_whole
    from limbeck.reporting.terminal import show_result

    show_result(result)
    check_whole(result.get("sets") or {})


def finish() -> None:
    """End a sweep, if it was one."""
    from limbeck.experiment.sweep import finish

    finish()


def plan(config: Any, overrides: Sequence[str]) -> tuple[dict[str, Any], RunFolder]:
    """Return a composed configuration as plain containers, and the folder of its run.

    Parameters
    ----------
    config, overrides
        As Hydra composed it, and from what.

    Raises
    ------
    ConfigError
        The configuration is impossible.
    """
    plain = as_plain(config, _KEYS, overrides=overrides, trains=True)
    return plain, RunFolder(below(plain["paths"]["runs"], plain["name"]) / run_id(plain))


def finished(config: dict[str, Any], folder: RunFolder) -> dict[str, Any] | None:
    """Return what the run has found if it is finished, no set is missing, and it is not to be made anew."""
    from limbeck.reporting.results.finished import whole

    result = None if config["force"] else folder.result()
    return result if whole(result) else None


def made(
    config: dict[str, Any], folder: RunFolder, overrides: Sequence[str], *, wait: bool = True
) -> dict[str, Any] | None:
    """Make a run unless it is finished, and return what it has found; None in the children of a launcher.

    Parameters
    ----------
    config, folder
        As ``plan`` returns them.
    overrides
        What makes just this run.
    wait
        Wait for another process that makes it.

    Raises
    ------
    BusyError
        Another process makes it, and ``wait`` is False.
    ConfigError
        It cannot be made as it is configured.
    """
    result = finished(config, folder)
    if result is not None:
        log.info("%s is finished; force=true runs it anew", folder.path)
        return result
    start = time.perf_counter()
    from limbeck.experiment.distil import Experiment

    with folder.opened(config, overrides, wait=wait):
        # Another process may have finished it since we looked.
        result = finished(config, folder) or Experiment(config, folder, folder.path.name).run()
    if result is not None:
        log.info("%s: %.0f s", folder.path, time.perf_counter() - start)
    return result
