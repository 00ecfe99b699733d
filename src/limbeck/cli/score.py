"""``limbeck score``: the candidates' scores by a teacher, into a store."""

from collections.abc import Sequence
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "data", "candidates", "pool", "teacher", "paths", "out", "splits", "depth", "devices", "part_size", "accelerator",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Score what the store lacks, and show the store."""
    console()
    plain = as_plain(config, KEYS, overrides=overrides, optional=("depth",), required=("splits",))
    from limbeck.experiment.score import score

    score(plain)
