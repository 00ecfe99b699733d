"""``limbeck import``: a public file of teacher scores into a score store."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "format", "path", "out", "kind", "teacher", "collection", "on_error", "duplicates", "threads", "force",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Import scores, and show what came in."""
    del typed
    console()
    plain = as_plain(config, KEYS)
    from limbeck.experiment.import_scores import import_scores

    import_scores(plain)
