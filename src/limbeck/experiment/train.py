"""One run of a training. Sweeps run theirs by ``limbeck.experiment.sweep``."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck.config import Config, run_id
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import RunFolder, below

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

_KEYS = (
    "name", "seed", "force", "dry_run", "data", "candidates", "pool", "sampler", "teacher", "backbone", "student",
    "loss", "optim", "trainer", "eval", "checks", "callbacks", "logger", "launcher",
    "paths",
)  # fmt: skip


def plan(config: "DictConfig", overrides: Sequence[str]) -> tuple[Config, RunFolder]:
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
    plain = as_plain(config, _KEYS, overrides=overrides, trains=True, absent=("callbacks",))
    return plain, RunFolder(below(plain["paths"]["runs"], plain["name"]) / run_id(plain))


def finished(config: Config, folder: RunFolder) -> Config | None:
    """Return what the run has found if it is finished, no set is missing, and `force` does not ask for it anew."""
    from limbeck.reporting.results.finished import whole

    result = None if config["force"] else folder.result()
    return result if whole(result) else None


def train(config: Config, folder: RunFolder, overrides: Sequence[str], *, wait: bool = True) -> Config | None:
    """Train and evaluate unless the run is finished, and return its result; None in the children of a launcher.

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
        It cannot run as it is configured.
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
