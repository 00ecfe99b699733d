"""``limbeck index``: a collection encoded by a student, and an index of it."""

from collections.abc import Sequence
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "data", "backbone", "student", "backend", "paths", "out", "dtype", "shard_size", "shard", "bf16", "seed",
    "accelerator",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Encode what the folder lacks, and build the index once everything is encoded."""
    console()
    plain = as_plain(config, KEYS, overrides=overrides)
    from limbeck.experiment.index import index

    index(plain)
