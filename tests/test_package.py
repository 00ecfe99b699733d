"""What an index would get: built, installed into an environment of its own, and used in an empty folder."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile

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


@pytest.mark.slow
def test_sdist_and_wheel_work_in_an_environment_of_their_own(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LIMBECK"))}

    def run(*words, **more):
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, **more)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(home())
    )  # the wheel from the sdist
    (sdist,), (wheel,) = (list((tmp_path / "dist").glob(ending)) for ending in ("*.tar.gz", "*.whl"))
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
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env"))
    python = tmp_path / "env" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-compile",
        "--no-deps",
        "--no-index",
        str(wheel),
    )
    # The dependencies are those of this environment; a path in a .pth brings no editable install along.
    (own,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(str(python), "-c", "import limbeck; print(limbeck.__file__)", cwd=empty)
    assert where.startswith(str(own))
    command = str(tmp_path / "env" / "bin" / "limbeck")
    assert "3 runs" in run(command, "train", "sweeps=quick_losses", "--dry-run", cwd=empty)
    run(command, "train", *SMALL, "trainer.steps=1", "trainer.validate_every=0", "eval.teacher=false", cwd=empty)
    assert len(list(empty.glob("runs/train/*/result.json"))) == 1
