"""``limbeck inspect``: what is in teacher scores, before anything is trained on them."""

from collections.abc import Sequence
from typing import Any

from limbeck.config import ConfigError
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "name", "seed", "force", "data", "candidates", "pool", "sampler", "teacher", "backbone", "student", "loss", "optim",
    "trainer", "eval", "checks", "logger", "paths", "out", "run", "qrels", "first_stage",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Write the report and show it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    console()
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError("limbeck inspect writes one report; call it once for each, with another out=FOLDER")
    bare = config.run is not None
    plain = as_plain(config, KEYS, overrides=None if bare else overrides, trains=True)
    from limbeck.experiment.inspect import inspect

    inspect(plain)
