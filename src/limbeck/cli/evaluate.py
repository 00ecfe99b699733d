"""``limbeck evaluate``: students, teachers and run files on sets; and comparisons of what is finished."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = (
    "name", "eval", "candidates", "teacher", "comparison", "paths", "run", "run_file", "qrels", "metrics", "compare",
    "baseline", "moved", "calibration", "accelerator", "force",
)  # fmt: skip


def run(config: "DictConfig", typed: Typed) -> None:
    """Evaluate, compare, or both."""
    console()
    plain = as_plain(config, KEYS)
    from limbeck.experiment.evaluate import evaluate

    evaluate(plain, typed.overrides)
