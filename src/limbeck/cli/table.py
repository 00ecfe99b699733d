"""``limbeck table``: from finished sweeps to a table in Markdown and LaTeX, with the commands of its rows."""

from collections.abc import Sequence
from typing import Any

from limbeck.config import ConfigError
from limbeck.experiment.messages import as_plain
from limbeck.experiment.run_folder import console

KEYS = ("table", "comparison", "paths", "out", "partial", "mix_commits", "mix_data")


def run(config: Any, overrides: Sequence[str]) -> None:
    """Print the table, write ``OUT/NAME.md`` and ``OUT/NAME.tex``."""
    from hydra.core.hydra_config import HydraConfig

    del overrides
    console()
    plain = as_plain(config, KEYS)
    name = HydraConfig.get().runtime.choices.get("table")
    if name is None:
        raise ConfigError("table must be given: table=NAME, one of conf/table")
    from limbeck.experiment.table import write

    write(plain, str(name))
