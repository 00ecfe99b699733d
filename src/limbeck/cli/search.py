"""``limbeck search``: a TREC run from an index, and its evaluation."""

from collections.abc import Sequence
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "data", "candidates", "backend", "paths", "index", "out", "split", "depth", "metrics", "timed", "shard", "bf16",
    "accelerator", "force",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Search, write the run, or a part of it, and evaluate it once it is whole."""
    del overrides
    console()
    plain = as_plain(config, KEYS, required=("metrics",), absent=("data", "candidates", "backend"))
    from limbeck.experiment.search import search

    search(plain)
