"""``limbeck inspect``: what is in teacher scores, before anything is trained on them."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "name", "seed", "force", "data", "candidates", "pool", "sampler", "teacher", "backbone", "student", "loss", "optim",
    "trainer", "eval", "checks", "logger", "paths", "out", "run", "qrels", "first_stage",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Write the report and show it."""
    console()
    bare = config.run is not None
    plain = as_plain(config, KEYS, overrides=None if bare else typed.overrides, trains=True)
    from limbeck.experiment.inspect import inspect

    inspect(plain)
