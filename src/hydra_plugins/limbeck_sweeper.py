"""What Hydra makes the jobs of a sweep with: its own grid, each job without the keys that it does not have.

Hydra takes sweepers from packages below ``hydra_plugins`` alone. Nothing heavy is imported here.
"""

import logging
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from hydra_plugins.limbeck_launcher import LimbeckLauncher

log = logging.getLogger("limbeck")

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="limbeck",
    node=BasicSweeperConf(_target_="hydra_plugins.limbeck_sweeper.LimbeckSweeper"),
)


class LimbeckSweeper(BasicSweeper):
    """A grid, of which ``limbeck.experiment.jobs`` leaves what makes sense."""

    def sweep(self, arguments: list[str]) -> Any:
        """Make the jobs of a file's grid as changed by what was typed."""
        typed = {word.partition("=")[0] for word in arguments}
        # sweeps=NAME loss=kl takes a part of the file's grid, in which no run may have its key loss.ckl.gamma.
        self._optional = set(self.params) - typed if typed & set(self.params) else set()
        return super().sweep(arguments)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the overrides of each job."""
        from limbeck.experiment.jobs import jobs
        from limbeck.experiment.run_folder import console

        assert self.hydra_context is not None
        assert self.config is not None
        loader, config = self.hydra_context.config_loader, self.config
        composed: dict[tuple[str, ...], DictConfig] = {}

        def compose(words: Sequence[str]) -> None:
            composed[tuple(words)] = loader.load_sweep_config(config, list(words))

        chosen = jobs(super().get_job_batch(), compose, self._optional)
        if isinstance(self.launcher, LimbeckLauncher):
            self.launcher.composed = composed
        if chosen.remark:
            console()
            log.info("%s", chosen.remark)
        return chosen.overrides

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: the batch was composed."""
