"""The folder of an exported student: whole or not there, and never in place of something else."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from limbeck.config import ConfigError
from limbeck.students.folders import MARK
from limbeck.unfinished import set_aside, whole_folder

MODULES = "modules.json"
"""With ``limbeck.json`` beside it, the sign of a folder that was exported here."""


def check_target(folder: Path) -> None:
    """Raise a ``ConfigError`` if something that was not exported here lies at ``folder``."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_export(folder):
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

    def replace(unfinished: Path) -> None:
        fill(unfinished)
        with contextlib.suppress(FileNotFoundError):  # there is none, or another export has just taken it away
            set_aside(folder)

    whole_folder(folder, replace, is_whole=lambda: _is_export(folder))


def _is_export(folder: Path) -> bool:
    return (folder / MARK).is_file() and (folder / MODULES).is_file()
