"""``limbeck mine``: candidates of the queries as run files, and the pool that training lists are drawn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = ("data", "candidates", "pool", "teacher", "paths", "out", "splits", "accelerator", "force")


def run(config: Any, overrides: Sequence[str]) -> None:
    """Mine, or show what is there already."""
    console()
    plain = as_plain(config, KEYS, overrides=overrides)
    from limbeck.experiment.mine import mine, show

    show(mine(plain), Path(plain["out"]))
