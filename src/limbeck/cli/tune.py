"""``limbeck tune``: search over options of ``limbeck train``, one process a trial."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(config: "DictConfig", typed: Typed) -> None:
    """Run the trials of a study that are missing, show the best, and write it as an experiment."""
    console()
    from limbeck.experiment.tune import tune

    tune(config, typed.overrides, typed.config_dirs)
