"""What Hydra hands the jobs of a sweep to: ``limbeck train`` runs them through ``launcher=serial|joblib|slurm``.

Hydra takes launchers from packages below ``hydra_plugins`` alone. Nothing heavy is imported here.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from limbeck.config import ConfigError

ConfigStore.instance().store(
    group="hydra/launcher", name="limbeck", node={"_target_": "hydra_plugins.limbeck_launcher.LimbeckLauncher"}
)


class LimbeckLauncher(Launcher):
    """Composes all jobs of a sweep and has ``limbeck.experiment.sweep`` run them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the jobs are composed from."""
        if not task_function.several:  # pyright: ignore[reportFunctionMemberAccess]
            raise ConfigError("limbeck.train does one run; for the runs of a sweep call limbeck.sweep")
        # It is not called: jobs are plain data, so that any process can run them. It knows what was typed.
        self._command: list[str] = task_function.command  # pyright: ignore[reportFunctionMemberAccess]
        self._loader = hydra_context.config_loader
        self._config = config
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        """Jobs that the sweeper has composed, by their overrides: Hydra takes a quarter of a second for each."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; a sweeper gets the value of each in ``return_value``, None if it failed."""
        from limbeck.experiment.sweep import Composed, launch
        from limbeck.experiment.typed import words_of

        setup_globals()
        shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set(job_overrides[0])
        composed = []
        for words in job_overrides:
            config = self.composed.pop(tuple(words), None) or self._loader.load_sweep_config(self._config, list(words))
            swept = [word for word in words if word not in shared]
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            composed.append(Composed(own, swept, words_of(config.hydra.overrides.task)))
        values = launch(composed, self._command)
        return [_returned(words, value) for words, value in zip(job_overrides, values, strict=True)]


def _returned(words: Sequence[str], value: Any) -> JobReturn:
    returned = JobReturn(overrides=list(words), status=JobStatus.COMPLETED)
    returned.return_value = value
    return returned
