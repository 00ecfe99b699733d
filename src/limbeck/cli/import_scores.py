"""``limbeck import``: a public file of teacher scores into a score store."""

from collections.abc import Sequence
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "format", "path", "out", "kind", "teacher", "collection", "on_error", "duplicates", "threads", "force",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Import scores, and show what came in."""
    del overrides
    console()
    plain = as_plain(config, KEYS)
    from limbeck.experiment.import_scores import import_scores

    import_scores(plain)
