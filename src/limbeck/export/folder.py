"""Writes the folder of an exported student atomically; it replaces only earlier exports."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from limbeck.config import ConfigError
from limbeck.students.folders import MARK
from limbeck.unfinished import set_aside, whole_folder

MODULES = "modules.json"
"""With ``limbeck.json``, it marks a folder that limbeck exported."""


def check_target(folder: Path) -> None:
    """Raise ``ConfigError`` if ``folder`` exists, is not empty, and is not an export of limbeck."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_export(folder):
        raise ConfigError(f"out: {str(folder)!r} exists and is not an export of limbeck; choose another folder")


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a temporary folder and rename it; an earlier export is replaced.

    Raises
    ------
    ConfigError
        The folder exists and is not an export of limbeck.
    """
    check_target(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)

    def replace(unfinished: Path) -> None:
        fill(unfinished)
        with contextlib.suppress(FileNotFoundError):  # there is none, or another process has just removed it
            set_aside(folder)

    whole_folder(folder, replace, is_whole=lambda: _is_export(folder))


def _is_export(folder: Path) -> bool:
    return (folder / MARK).is_file() and (folder / MODULES).is_file()
