"""``limbeck evaluate``: students, teachers and run files on sets; and comparisons of what is finished."""

from collections.abc import Sequence
from typing import Any

from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = (
    "name", "eval", "candidates", "teacher", "comparison", "paths", "run", "run_file", "qrels", "metrics", "compare",
    "baseline", "moved", "calibration", "accelerator", "force",
)  # fmt: skip


def run(config: Any, overrides: Sequence[str]) -> None:
    """Evaluate, compare, or both."""
    console()
    plain = as_plain(config, KEYS)
    from limbeck.experiment.evaluate import evaluate

    evaluate(plain, overrides)
