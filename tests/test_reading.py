"""What one must read to understand a part of the code."""

import ast
import re

from limbeck.config import home

SOURCES = home() / "src" / "limbeck"


def imported(path):
    """Return the limbeck modules that a module imports, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse((SOURCES / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "limbeck":
            folder = SOURCES.parent.joinpath(*node.module.split("."))
            found |= {f"{node.module}.{each.name}" for each in node.names} if folder.is_dir() else {node.module}
    return found


def test_an_experiment_needs_no_more_than_a_dozen_modules():
    modules = imported("experiment/distil.py")
    assert "limbeck.experiment.fitting" in modules
    assert len(modules) <= 12, sorted(modules)


def test_an_experiment_is_prepared_trained_and_evaluated():
    tree = ast.parse((SOURCES / "experiment" / "distil.py").read_text())
    (made,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = [node.name for node in made.body if isinstance(node, ast.FunctionDef)]
    assert methods == ["__init__", "run", "prepare", "train", "evaluate"]


STEP = [
    "cli/main.py",
    *(f"experiment/{name}.py" for name in ("calling", "verbs", "train", "distil", "parts", "prepared", "fitting")),
    *(f"data/{name}.py" for name in ("datamodule", "sampling")),
    "text/collate.py",
    *(f"training/{name}.py" for name in ("module", "objective", "optim")),
    *(f"losses/{name}.py" for name in ("term", "on_scores", "ckl")),
    "students/dense.py",
]
"""From the command to the weights: what a training step passes."""


def test_a_step_is_read_in_18_files_and_3500_lines():
    lines = sum(len((SOURCES / path).read_text().splitlines()) for path in STEP)
    assert len(STEP) <= 18
    assert lines <= 3500
    text = (home() / "docs" / "contributing" / "architecture.md").read_text()
    (said,) = re.findall(r"18 files and ([\d,]+) lines", text)
    assert abs(int(said.replace(",", "")) - lines) < 300, lines


def test_modules_are_short():
    assert not [str(path) for path in SOURCES.rglob("*.py") if len(path.read_text().splitlines()) >= 300]


def test_only_the_command_reads_the_state_of_hydra():
    reading = [path for path in SOURCES.rglob("*.py") if re.search(r"HydraConfig|GlobalHydra", path.read_text())]
    assert sorted(str(path.relative_to(SOURCES)) for path in reading) == [
        "experiment/calling.py",
        "experiment/from_python.py",  # restores that of its caller
    ]


def test_types_say_what_is_passed():
    sources = [path.read_text() for folder in ("cli", "experiment") for path in (SOURCES / folder).glob("*.py")]
    assert sum(len(re.findall(r"\bAny\b", source)) for source in sources) < 60
