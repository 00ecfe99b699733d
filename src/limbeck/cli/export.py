"""``limbeck export``: a student as a folder that sentence-transformers and transformers load."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.config import ConfigError
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = ("run", "out", "student", "backbone")


def run(config: "DictConfig", typed: Typed) -> None:
    """Write the folder, unless something else is there."""
    del typed
    console()
    source, _ = config.run, config.out  # what is missing is named before the folder is looked at
    if source is None:
        raise ConfigError("run must be given: run=…")
    plain = as_plain(config, KEYS, required=("run",))
    from limbeck.experiment.export import export

    export({**plain, "run": str(source)})
