"""``limbeck report``: one HTML page about the runs of a sweep."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = ("name", "out", "baseline", "paths")


def words(given: Sequence[str]) -> list[str]:
    """Return overrides: a bare first word is the name, as in ``limbeck report NAME``."""
    first, rest = given[:1], list(given[1:])
    return [word if "=" in word or word[:1] in "-~" else f"name='{_quoted(word)}'" for word in first] + rest


def _quoted(word: str) -> str:
    return word.replace("\\", "\\\\").replace("'", "\\'")


def run(config: "DictConfig", typed: Typed) -> None:
    """Write the page."""
    del typed
    console()
    plain = as_plain(config, KEYS, optional=("out",))
    from limbeck.experiment.report import report

    report(plain)
