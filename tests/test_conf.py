"""Every shipped option composes, and every command of the README is one the program understands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from limbeck.config import home

CONF = home() / "conf"
OPTIONS = sorted(
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for path in CONF.rglob("*.yaml")
    # Formats are options of limbeck import, backends of limbeck index, comparisons of limbeck evaluate, tunings of limbeck
    # tune: see cli/test_import.py, test_search.py, test_evaluate.py and test_tune.py. Sets are parts of presets: see
    # evaluation/test_sets.py.
    if path.parent != CONF
    and not {"local", "hydra", "format", "backend", "comparison", "tuning", "sets"} & set(path.relative_to(CONF).parts)
)
SWEEPS = sorted(path.stem for path in (home() / "sweeps").glob("*.yaml"))
NEEDS = {  # what an option leaves to the user
    "eval=folder": ["eval.sets.folder.collection=somewhere"],
    "data=collection": ["data.collection=somewhere"],
    "backbone=pretrained": ["backbone.model=somewhere"],
    "backbone=saved": ["student=saved", "student.folder=somewhere"],
    "student=saved": ["student.folder=somewhere"],
    "candidates=saved": ["candidates.student.folder=somewhere"],
    "teacher=saved": ["teacher.student.folder=somewhere"],
    "candidates=dense": ["candidates.backbone.model=somewhere"],
    "candidates/parts=bm25": ["candidates=fusion"],
    "candidates/parts=dense": ["candidates=fusion", "candidates.parts.dense.backbone.model=somewhere"],
    "candidates/parts=minilm": ["candidates=fusion"],
    "candidates/parts=run": ["candidates=fusion"],
    "teacher=dense": ["teacher.backbone.model=somewhere"],
    "teacher=cross_encoder": ["teacher.backbone.model=somewhere"],
    "teacher=run": ["teacher.path=somewhere"],
    "teacher=store": ["teacher.path=somewhere"],
}


def composed(limbeck, *words, verb="train"):
    status, out, err = limbeck(verb, "--cfg", "job", "--resolve", *words, small=False)
    assert status == 0, err
    return yaml.safe_load(out)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option, limbeck):
    config = composed(limbeck, option, *NEEDS.get(option, []))
    assert "???" not in str(config)
    assert config["seed"] is not None


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes_and_says_what_it_asks(name, limbeck):
    config = composed(limbeck, f"sweeps={name}")
    assert config["name"] == name
    header = (home() / "sweeps" / f"{name}.yaml").read_text().split("\n\n")[0]
    for word in ("Question:", "Runs:", f"limbeck train sweeps={name}"):
        assert word in header


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_says_how_it_is_run(path, limbeck):
    assert f"limbeck train experiment={path.stem}" in path.read_text()
    assert composed(limbeck, f"experiment={path.stem}")["name"] == path.stem


def readme_commands():
    pages = ("README.md", "docs/scores.md", "docs/evaluation.md")
    text = "".join((home() / name).read_text() for name in pages).replace("\\\n", " ")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith("limbeck ")]


@pytest.mark.parametrize("command", readme_commands())
def test_readme_commands(command, limbeck):
    _, verb, *words = shlex.split(command)
    words = [word for word in words if word not in ("-m", "--cfg", "job")]
    # One job of a grid is as good as all of them.
    first = [word if set("[{") & set(word) else word.split(",")[0] for word in words]
    composed(limbeck, *first, verb=verb)


def test_the_readme_names_make_targets_that_exist():
    readme, makefile = ((home() / name).read_text() for name in ("README.md", "Makefile"))
    for target in re.findall(r"`?make (\w+)", readme):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert Path(home() / "LICENSE").read_text().lstrip().startswith("Apache License")
