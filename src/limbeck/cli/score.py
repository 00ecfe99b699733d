"""``limbeck score``: the candidates' scores by a teacher, into a store."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "data", "candidates", "pool", "teacher", "paths", "out", "splits", "depth", "devices", "part_size", "accelerator",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Score what the store lacks, and show the store."""
    console()
    plain = as_plain(config, KEYS, overrides=typed.overrides, optional=("depth",), required=("splits",))
    from limbeck.experiment.score import score

    score(plain)
