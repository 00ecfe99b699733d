"""``limbeck search``: a TREC run from an index, and its evaluation."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "data", "candidates", "backend", "paths", "index", "out", "split", "depth", "metrics", "timed", "shard", "bf16",
    "accelerator", "force",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Search, write the run, or a part of it, and evaluate it once it is whole."""
    del typed
    console()
    plain = as_plain(config, KEYS, required=("metrics",), absent=("data", "candidates", "backend"))
    from limbeck.experiment.search import search

    search(plain)
