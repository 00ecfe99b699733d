"""``limbeck mine``: candidates of the queries as run files, and the pool that training lists are drawn from."""

from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = ("data", "candidates", "pool", "teacher", "paths", "out", "splits", "accelerator", "force")


def run(config: "DictConfig", typed: Typed) -> None:
    """Mine, or show what is there already."""
    console()
    plain = as_plain(config, KEYS, overrides=typed.overrides)
    from limbeck.experiment.mine import mine, show

    show(mine(plain), Path(plain["out"]))
