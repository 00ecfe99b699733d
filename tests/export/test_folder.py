"""The folder of an export is whole or not there."""

import pytest

from limbeck.config import ConfigError
from limbeck.export.folder import MODULES, write_folder
from limbeck.students.folders import MARK


def fill(folder):
    (folder / MARK).write_text("{}")
    (folder / MODULES).write_text("[]")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_nothing(tmp_path):
    def fails(folder):
        fill(folder)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_folder(tmp_path / "made", fails)
    assert names(tmp_path) == []


def test_a_failure_leaves_the_earlier_export(tmp_path):
    write_folder(tmp_path / "made", fill)

    def fails(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "made", fails)
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == [MARK, MODULES]


def test_what_a_killed_export_left_is_cleared(tmp_path):
    (tmp_path / ".made.unfinished").mkdir()
    (tmp_path / ".made.unfinished" / "half").write_text("")
    write_folder(tmp_path / "made", fill)
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == [MARK, MODULES]


@pytest.mark.parametrize("name", [MARK, MODULES, "other"])
def test_a_folder_that_was_not_exported_stays(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="is not an export of limbeck"):
        write_folder(tmp_path, fill)
    assert names(tmp_path) == [name]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "made").mkdir()
    write_folder(tmp_path / "made", fill)
    assert names(tmp_path) == ["made"]
