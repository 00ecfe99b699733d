"""``limbeck tune``: search over what ``limbeck train`` can be told, one process a trial."""

from collections.abc import Sequence
from typing import Any

from limbeck.config import ConfigError
from limbeck.experiment.run_folder import console


def run(config: Any, overrides: Sequence[str]) -> None:
    """Run the trials of a study that are missing, show the best, and write it as an experiment."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from limbeck.experiment.tune import tune

    console()
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        raise ConfigError("limbeck tune is a search by itself: name what varies in tune.space, without -m")
    sources = hydra.runtime.config_sources
    dirs = [word for each in sources if each.provider == "command-line" for word in ("--config-dir", each.path)]
    tune(config, overrides, GlobalHydra.instance().config_loader(), dirs)
