"""``limbeck index``: a collection encoded by a student, and an index of it."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "data", "backbone", "student", "backend", "paths", "out", "dtype", "shard_size", "shard", "bf16", "seed",
    "accelerator",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Encode what the folder lacks, and build the index once everything is encoded."""
    console()
    plain = as_plain(config, KEYS, overrides=typed.overrides)
    from limbeck.experiment.index import index

    index(plain)
