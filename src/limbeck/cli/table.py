"""``limbeck table``: from finished sweeps to a table in Markdown and LaTeX, with the commands of its rows."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.config import ConfigError
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEYS = ("table", "comparison", "paths", "out", "partial", "mix_commits", "mix_data")


def run(config: "DictConfig", typed: Typed) -> None:
    """Print the table, write ``OUT/NAME.md`` and ``OUT/NAME.tex``."""
    console()
    plain = as_plain(config, KEYS)
    name = typed.chosen("table")
    if name is None:
        raise ConfigError("table must be given: table=NAME, one of conf/table")
    from limbeck.experiment.table import write

    write(plain, name)
