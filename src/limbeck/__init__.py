"""Limbeck distils rankers from teacher scores.

    import limbeck
    ranker = limbeck.load("runs/train/f1553819")
    ranker.rank("who swims?", {"d1": "fish swim", "d2": "dogs bark"})

Heavy modules are imported on first use. docs/howto/python.md describes all functions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from limbeck.version import __version__ as __version__

if TYPE_CHECKING:  # for type checkers and editors
    from limbeck import losses as losses
    from limbeck.config import ConfigError as ConfigError
    from limbeck.config import FailedError as FailedError
    from limbeck.experiment.from_python import compose as compose
    from limbeck.experiment.from_python import evaluate as evaluate
    from limbeck.experiment.from_python import inspect as inspect
    from limbeck.experiment.from_python import mine as mine
    from limbeck.experiment.from_python import report as report
    from limbeck.experiment.from_python import score as score
    from limbeck.experiment.from_python import sweep as sweep
    from limbeck.experiment.from_python import table as table
    from limbeck.experiment.from_python import train as train
    from limbeck.experiment.loading import load as load
    from limbeck.experiment.text_ranker import TextRanker as TextRanker

_VERBS = ("compose", "evaluate", "inspect", "mine", "report", "score", "sweep", "table", "train")
_FOUND_IN = {
    **dict.fromkeys(_VERBS, "limbeck.experiment.from_python"),
    "ConfigError": "limbeck.config",
    "FailedError": "limbeck.config",
    "TextRanker": "limbeck.experiment.text_ranker",
    "load": "limbeck.experiment.loading",
}
"""Name → module that defines it."""

__all__ = [
    "ConfigError",
    "FailedError",
    "TextRanker",
    "compose",
    "evaluate",
    "inspect",
    "load",
    "losses",
    "mine",
    "report",
    "score",
    "sweep",
    "table",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _FOUND_IN:
        return getattr(import_module(_FOUND_IN[name]), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
