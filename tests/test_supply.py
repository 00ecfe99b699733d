"""What is installed: every dependency has bounds, the tried versions lie within, and the licences are told."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
EVERY = [Requirement(each) for each in dict.fromkeys([*PROJECT["dependencies"], *EXTRAS])]
RUNTIME = [Requirement(each) for each in PROJECT["dependencies"]]


def pins(name):
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {
        canonicalize_name(key): Version(value) for key, _, value in (line.partition("==") for line in lines if line)
    }


@pytest.mark.parametrize("needed", EVERY, ids=str)
def test_bounds_below_and_above(needed):
    operators = {each.operator for each in needed.specifier}
    assert operators == {"=="} or (operators & {">=", "~="} and operators & {"<", "<=", "~="}), needed


def test_torch_is_bounded_above():
    (torch,) = [each for each in RUNTIME if each.name == "torch"]
    assert "2.13.0" in torch.specifier
    assert "2.14.0" not in torch.specifier


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-lowest.txt"])
def test_tried_versions_lie_within_the_bounds(file):
    tried = pins(file)
    for needed in EVERY:
        found = tried.get(canonicalize_name(needed.name))
        assert found is None or found in needed.specifier, (needed, found)
    assert {canonicalize_name(each.name) for each in RUNTIME} <= set(tried)


def test_the_lowest_are_the_lower_bounds():
    tried = pins("constraints-lowest.txt")
    for needed in RUNTIME:
        (lowest,) = [Version(each.version) for each in needed.specifier if each.operator == ">="]
        assert needed.name == "torch" or tried[canonicalize_name(needed.name)] == lowest, needed


def test_licences_are_told(tmp_path):
    script, page = ROOT / ".ci" / "licences.py", ROOT / "docs" / "contributing" / "licences.md"
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    rows = {canonicalize_name(row[0]): row for row in map(cells, made.splitlines()) if row}
    told = {canonicalize_name(row[0]): row for row in map(cells, page.read_text().splitlines()) if row}
    for needed in RUNTIME:
        name = canonicalize_name(needed.name)
        assert told[name][2] == rows[name][2], (
            f"{needed.name}: run python .ci/licences.py > docs/contributing/licences.md"
        )


def cells(line):
    row = [cell.strip(" *") for cell in line.strip("|").split("|")]
    return row if len(row) == 3 else None
