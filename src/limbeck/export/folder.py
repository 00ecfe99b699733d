"""The folder of an exported student: whole or not there, and never in place of something else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from limbeck.config import ConfigError
from limbeck.students.saved import MARK

MODULES = "modules.json"
"""With ``limbeck.json`` beside it, the sign of a folder that was exported here."""


def check_target(folder: Path) -> None:
    """Raise a ``ConfigError`` if something that was not exported here lies at ``folder``."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not ((folder / MARK).is_file() and (folder / MODULES).is_file()):
        raise ConfigError(f"out: {str(folder)!r} is there and was not exported by limbeck; choose another folder")


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a folder that appears by a rename when it is whole; an earlier export there gives way.

    Raises
    ------
    ConfigError
        Something else lies there.
    """
    check_target(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished, earlier = (folder.with_name(f".{folder.name}.{word}") for word in ("unfinished", "earlier"))
    for left in (unfinished, earlier):
        shutil.rmtree(left, ignore_errors=True)
    unfinished.mkdir()
    try:
        fill(unfinished)
        if folder.exists():
            os.rename(folder, earlier)
        os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
