"""Bad input: status 2, one message that says what is wrong where, no traceback, nothing that counts as done.

The cases are those of ``bad_input.py``. ``docs/reference/errors.md`` is what they print:
``python tests/test_errors.py --write`` writes it.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

sys.path.insert(0, str(Path(__file__).parent))
from bad_input import CASES
from bad_world import world
from limbeck.cli.main import main

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "errors.md"
WRITING = "--write" in sys.orig_argv  # in the process that writes, pytest imports this file once more
DONE = {"result.json", "meta.json", "mine.json", "trained.json", "inspect.json", "report.html", "found.trec"}
"""Files that say that something is finished."""
ALL = [pytest.param(group, case, id=f"{group}: {case.name}") for group, cases in CASES.items() for case in cases]


def arguments(command, folder, cache):
    """Return the words of a command; RUN is the finished run's folder."""
    run = next(iter(folder.glob("runs/base/*")), folder).relative_to(folder)
    words = [re.sub(r"\bRUN\b", str(run), word) for word in shlex.split(command)]
    return words if words[0] in ("import", "export", "trian") else [*words, f"paths.cache={cache}"]


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """A folder in which all is right, and the cache."""
    folder, cache = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("cache_of_errors")

    def call(command):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["limbeck", *arguments(command, folder, cache)])
            main()

    world(folder, call)
    return folder, cache


@pytest.fixture
def call(good, tmp_path, limbeck):
    """Give a command in a copy of the good folder, ``tmp_path``."""
    shutil.copytree(good[0], tmp_path, dirs_exist_ok=True)
    return lambda command: limbeck(*arguments(command, tmp_path, good[1]), small=False)


def named(message, tmp_path, good):
    """Return a message without what differs from one call to the next: folders, ids, places in JSON."""
    for path, name in ((tmp_path, ""), (good[0], ""), (good[1], "cache")):
        message = message.replace(f"{path}/", f"{name}/" if name else "").replace(str(path), name or ".")
    message = re.sub(r"\b[0-9a-f]{32}\b", "CHECKSUM", message)
    message = re.sub(r"(?<=/)[0-9a-f]{8}\b(?=[/ ':);,]|$)", "ID", message)
    message = re.sub(r"(choose from|the verbs are): .*", r"\1: …", message)  # what there is grows
    return message.strip()


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("group", "case"), ALL)
def test_bad_input(group, case, call, good, tmp_path, record_property):
    kept = case.harm(tmp_path) if case.harm else None
    before = files(tmp_path)
    status, out, err = call(case.command)
    assert status == case.status, err
    assert "Traceback" not in err + out
    assert "Logging error" not in err
    if not status:
        assert re.search(case.message, err + out)
        told = "it works"
    else:
        told = named(err[err.rindex("limbeck: ") :], tmp_path, good)
        assert re.search(case.message, told, re.DOTALL), told
        new = {path for path, time in files(tmp_path).items() if before.get(path) != time}
        assert not {path.name for path in new} & DONE
    record_property("entry", [group, case.name, case.command, told])
    if not WRITING:
        assert entry(case.name, case.command, told) in PAGE.read_text("utf-8"), (
            "run: python tests/test_errors.py --write"
        )
    del kept
    if case.mended:
        shutil.rmtree(tmp_path / "beir")
        shutil.copytree(good[0], tmp_path, dirs_exist_ok=True)
        status, _, err = call(case.command)
        assert status == 0, err


def test_the_page_has_these_cases_alone():
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(CASES)
    names = [case.name for cases in CASES.values() for case in cases]
    assert re.findall(r"^\*\*(.*)\*\*$", text, re.MULTILINE) == names
    assert sum(case.status == 2 for cases in CASES.values() for case in cases) >= 60


def test_a_process_ends_with_the_status_and_without_a_traceback(tmp_path, limbeck):
    words = [sys.executable, "-m", "limbeck", "train", "loss=kll"]
    plain = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("limbeck: loss=kll does not exist")
    assert "Traceback" not in plain.stderr
    with pytest.raises(MissingConfigException):  # which Python ends with a traceback
        limbeck("train", "loss=kll", "--debug", small=False)


# -- the page -----------------------------------------------------------------------------------------------------


def entry(name, command, told):
    """Return what the page has of a case."""
    return f"**{name}**\n\n```console\n$ limbeck {command}\n{told}\n```\n"


HEAD = """\
# Messages about bad input

Each message below is what Limbeck prints in a test (`tests/bad_input.py`), under the command that was given.
`RUN` and `ID` stand for the folder and the id of a run. The page is written by `python tests/test_errors.py --write`.

- The exit status is 2 for bad input, 1 for a failure of the program itself, and 130 for an interruption.
- There is one message, which names the file and line, the key, or the id. `--debug` shows the traceback.
- Incomplete output never counts as finished: run the same command again with good input.
- For missing permissions, a full disk, or a file where a folder should be, the message names the path and the reason.
"""


class Recorder:
    """Collects what the cases record."""

    def __init__(self):
        self.entries = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.entries += [value for name, value in report.user_properties if name == "entry"]


def write():
    """Run the cases and write the page."""
    recorder = Recorder()
    status = pytest.main([__file__, "-k", "test_bad_input", "-p", "no:xdist", "-p", "no:cacheprovider"], [recorder])
    parts = [HEAD]
    for group in CASES:
        parts.append(f"## {group}\n")
        parts += [entry(*each[1:]) for each in recorder.entries if each[0] == group]
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    return status


if __name__ == "__main__":
    raise SystemExit(write())
