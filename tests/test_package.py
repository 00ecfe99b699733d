"""What an index would get: built, installed into an environment of its own, and used in an empty folder."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import hatchling.build
import pip as pip_package
import pytest
import yaml

from limbeck.config import home
from limbeck.version import __version__
from small import SMALL


def test_one_version_everywhere():
    project = (home() / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{__version__}"\n' in project
    assert yaml.safe_load((home() / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
    changes = (home() / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", changes, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", each) for each in headings[1:])
    kinds = re.findall(r"^### (.*)$", changes, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Moves results"}


@pytest.mark.parametrize(
    "form", sorted((home() / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_are_forms(form):
    said = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem != "config":
        assert {"name", "description", "body"} <= set(said)
        assert all(part["attributes"].get("label") for part in said["body"])


@pytest.fixture
def distributed(tmp_path, monkeypatch):
    """The sdist of this checkout, and the wheel that is built from its files."""
    build_sdist, build_wheel = hatchling.build.build_sdist, hatchling.build.build_wheel
    monkeypatch.chdir(home())
    sdist = tmp_path / build_sdist(str(tmp_path))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path / sdist.name.removesuffix(".tar.gz"))
    return sdist, tmp_path / build_wheel(str(tmp_path))


@pytest.mark.slow
def test_sdist_and_wheel_work_in_an_environment_of_their_own(distributed, forked, tmp_path):
    """A fresh interpreter imports and composes; a copy of this process with Limbeck imported from there trains."""
    sdist, wheel = distributed
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LIMBECK"))}

    def run(*words, **more):
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, **more)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "CITATION.cff",
        "conf/train.yaml",
        "tests/small.py",
    } <= files
    assert not [name for name in files if name.startswith(("runs/", "cache/", ".venv/", "build/"))]
    source = home() / "src"
    modules = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {name: archive.read(name) for name in names if name.endswith(".py")} == modules
    shipped = {f"limbeck/_shipped/{name}" for name in files if re.match(r"(conf|sweeps)/.*\.yaml$", name)}
    assert shipped
    assert shipped <= names
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    pip = Path(pip_package.__file__).with_name("__pip-runner__.py")  # the pip of this environment installs into that
    run(python, pip, "install", "--quiet", "--no-compile", "--no-deps", "--no-index", wheel)
    # The dependencies are those of this environment; a path in a .pth brings no editable install along.
    (own,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(python, "-c", "import limbeck; print(limbeck.__file__)", cwd=empty)
    assert where.startswith(str(own))
    command = str(tmp_path / "env" / "bin" / "limbeck")
    assert "3 runs" in run(command, "train", "sweeps=quick_losses", "--dry-run", cwd=empty)
    words = ["train", *SMALL, "trainer.steps=1", "trainer.validate_every=0", "eval.teacher=false"]
    status, said = forked.run(words, empty, main=lambda: installed(own))
    assert status == 0, said
    assert len(list(empty.glob("runs/train/*/result.json"))) == 1


def installed(own):
    """Be the command that is installed in a folder of packages, with nothing of the Limbeck that is imported here."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "limbeck"]:
        del sys.modules[name]
    for name in [name for name in os.environ if name.startswith("LIMBECK")]:
        del os.environ[name]
    sys.path[:] = [str(own), *(path for path in sys.path if not Path(path, "limbeck", "__init__.py").is_file())]
    (script,) = metadata.Distribution.discover(name="limbeck", path=[str(own)])
    (command,) = script.entry_points.select(group="console_scripts", name="limbeck")
    command.load()()
    used = {name: module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "limbeck"}
    assert len(used) > 50
    assert not {name: file for name, file in used.items() if not str(file).startswith(str(own))}
