"""``limbeck new loss NAME``: write a package for the user's loss, with a test."""

from collections.abc import Sequence
from pathlib import Path

from limbeck.cli.failing import show
from limbeck.config import ConfigError


def run(words: Sequence[str]) -> None:
    """Write the package, and print the next steps."""
    from limbeck.experiment.new_loss import write

    out = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    match [word for word in words if not word.startswith("out=")]:
        case ["loss", name] if "=" not in name:
            show(write(name, Path(out[-1] if out else "my_losses")))
        case _:
            raise ConfigError("write limbeck new loss NAME, or limbeck new loss NAME out=FOLDER")
