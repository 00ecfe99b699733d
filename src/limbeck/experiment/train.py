"""One training run; ``limbeck.experiment.sweep`` runs those of sweeps."""

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
    config
        As composed by Hydra.
    overrides
        The overrides it was composed from.

    Raises
    ------
    ConfigError
        The configuration is impossible.
    """
    plain = as_plain(config, _KEYS, overrides=overrides, trains=True, absent=("callbacks",))
    return plain, RunFolder(below(plain["paths"]["runs"], plain["name"]) / run_id(plain))


def finished(config: Config, folder: RunFolder) -> Config | None:
    """Return the result of the run if it is finished and no set is missing; None if not, or with ``force``."""
    from limbeck.reporting.results.finished import whole

    result = None if config["force"] else folder.result()
    return result if whole(result) else None


def train(config: Config, folder: RunFolder, overrides: Sequence[str], *, wait: bool = True) -> Config | None:
    """Train and evaluate unless the run is finished, and return its result; None in the child processes of a launcher.

    Parameters
    ----------
    config, folder
        As ``plan`` returns them.
    overrides
        Overrides that compose this run.
    wait
        Wait for another process that works on the same run.

    Raises
    ------
    BusyError
        Another process works on the same run, and ``wait`` is False.
    ConfigError
        It cannot run as it is configured.
    """
    result = finished(config, folder)
    if result is not None:
        log.info("%s is finished; force=true runs it again", folder.path)
        return result
    start = time.perf_counter()
    from limbeck.experiment.distil import Experiment

    with folder.opened(config, overrides, wait=wait):
        # Another process may have finished it in the meantime.
        result = finished(config, folder) or Experiment(config, folder, folder.path.name).run()
    if result is not None:
        log.info("%s: %.0f s", folder.path, time.perf_counter() - start)
    return result
