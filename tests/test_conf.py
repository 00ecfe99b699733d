"""Every shipped YAML composes, and every command of the pages is one the program understands."""

import itertools
import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from limbeck.config import home
from limbeck.experiment.groups import options
from limbeck.experiment.words import with_name
from limbeck.manual.verbs import VERBS
from limbeck.schemas import generated

CONF = home() / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SWEEPS = sorted(path.stem for path in (home() / "sweeps").glob("*.yaml"))
ROOTS = sorted({path.stem for path in CONF.glob("*.yaml")} - {"training"})  # a part of those of three verbs
# Experiments are composed and run by test_experiments.py, sets below; conf/local is the user's own.
FOLDERS = {str(path.parent.relative_to(CONF)) for path in CONF.rglob("*/*.yaml")} | {group for group, _ in generated()}
OPTIONS = sorted(
    f"{group}={name}"
    for group in FOLDERS
    if group not in ("experiment", "local", "loss") and not group.startswith("eval/sets")
    for name in options(group)
)
OF_OTHERS = ("kl_in_batch", "projected_kl_evidence", "projected_kl_student")
"""Options of ``loss`` that hold terms which other options hold too."""
OPTIONS.append(f"loss=[{','.join(name for name in options('loss') if name not in OF_OTHERS)}]")
OPTIONS.extend(f"loss=[{name}]" for name in OF_OTHERS)  # each of the others by itself: losses/test_compose.py
SETS = sorted(str(path.relative_to(CONF / "eval/sets").with_suffix("")) for path in CONF.glob("eval/sets/**/*.yaml"))
VERB = {"format": "import", "backend": "index", "table": "table", "tuning": "tune"}
"""Of options that limbeck train has not."""
NEEDS = {  # what an option leaves to the user
    "eval=folder": ["eval.sets.folder.collection=somewhere"],
    "data=collection": ["data.collection=somewhere"],
    "backbone=pretrained": ["backbone.model=somewhere"],
    "backbone=saved": ["student=saved", "student.folder=somewhere"],
    "student=saved": ["student.folder=somewhere"],
    "candidates=saved": ["candidates.student.folder=somewhere"],
    "candidates=refine_own": [
        "candidates.parts.own.student.folder=somewhere",
        "candidates.parts.splade.backbone.model=somewhere",
    ],
    "teacher=saved": ["teacher.student.folder=somewhere"],
    "candidates=dense": ["candidates.backbone.model=somewhere"],
    "candidates/parts=bm25": ["candidates=fusion"],
    "candidates/parts=dense": ["candidates=fusion", "candidates.parts.dense.backbone.model=somewhere"],
    "candidates/parts=minilm": ["candidates=fusion"],
    "candidates/parts=run": ["candidates=fusion"],
    "teacher=dense": ["teacher.backbone.model=somewhere"],
    "teacher=cross_encoder": ["teacher.backbone.model=somewhere"],
    "teacher=causal_lm": ["teacher.model=somewhere"],
    "teacher=seq2seq": ["teacher.model=somewhere"],
    **{
        f"teacher/prompt={name}": ["teacher=causal_lm", "teacher.model=somewhere"] for name in options("teacher/prompt")
    },
    "teacher=qwen3_reranker_classifier": ["teacher.backbone.model=somewhere"],
    "teacher=server": ["teacher.url=http://somewhere", "teacher.form=tei", "teacher.model=somebody"],
    "teacher=run": ["teacher.path=somewhere"],
    "teacher=store": ["teacher.path=somewhere"],
    "candidates=refine": ["candidates.parts.splade.backbone.model=somewhere"],
}
GIVEN = {  # what a verb leaves to the user
    "import": ["path=somewhere", "out=somewhere"],
    "index": ["out=somewhere"],
}


@pytest.fixture
def composed(compose):
    def call(*words, verb="train"):
        return OmegaConf.to_container(compose(verb, *words), resolve=True)

    return call


def test_what_these_tests_compose_is_what_the_command_composes(composed, limbeck):
    words = ["experiment=small_warm_ckl", "paths.data=data"]
    status, out, err = limbeck("train", "--cfg", "job", "--resolve", *words, small=False)
    assert status == 0, err
    assert yaml.safe_load(out) == composed(*words)


def test_every_verb_has_a_configuration_and_the_reverse():
    assert sorted(VERBS) == ROOTS


def together():
    """Return rows of options that are composed at once: of each group one, since no two groups have keys in common."""
    groups = defaultdict(list)
    for option in OPTIONS:
        group = option.partition("=")[0].partition("/")[0]  # a teacher's prompt is chosen with the teacher
        groups["student" if group == "backbone" else group].append(option)
    alone = [[option] for group in VERB for option in groups.pop(group)]
    return alone + [[option for option in row if option] for row in itertools.zip_longest(*groups.values())]


@pytest.mark.parametrize("options", together(), ids=" ".join)
def test_every_option_composes(options, composed):
    verb = VERB.get(options[0].partition("=")[0], "train")
    needed = [word for option in options for word in NEEDS.get(option, [])]
    config = composed(*options, *needed, *GIVEN.get(verb, []), verb=verb)
    assert "???" not in str(config)
    assert verb != "train" or config["seed"] is not None


def test_every_evaluation_set_composes(composed):
    words = [f"+eval/sets@eval.sets.set{number}={name}" for number, name in enumerate(SETS)]
    config = composed(*words, f"eval.sets.set{SETS.index('folder')}.collection=somewhere", verb="evaluate")
    assert len(config["eval"]["sets"]) == len(SETS)
    assert "???" not in str(config)


def _belongs(word, words):
    """Tell whether a job has a key: `loss.kl.weight=2` belongs to losses whose names begin with kl."""
    term = re.match(r"loss\.(\w+)\.", word)
    chosen = next((each for each in words if each.startswith("loss=")), None)
    return not term or chosen is None or bool(re.search(rf"\b{term[1]}", chosen))


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes_and_says_what_it_asks(name, composed):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    text = (home() / "sweeps" / f"{name}.yaml").read_text()
    header = text.split("\nname:")[0]
    for word in ("Question:", "Runs:", f"limbeck train sweeps={name}"):
        assert word in header
    params = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    grid = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    values = [list(each.sweep_string_iterator()) if each.is_sweep_override() else None for each in grid]
    axes = [[f"{key}={word}" for word in each] for key, each in zip(params, values, strict=True) if each]
    runs = {tuple(word for word in words if _belongs(word, words)) for words in itertools.product(*axes)}
    assert int(re.search(r"Runs: (\d+)", header)[1]) == len(runs)
    swept = zip(params, grid, values, strict=True)
    job = [f"{key}={each.value() if all_of is None else all_of[-1]}" for key, each, all_of in swept]
    config = composed(f"sweeps={name}", *job)
    assert config["name"] == name
    assert "???" not in str(config)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_how_it_is_run(name):
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert f"limbeck train experiment={name}" in text
    assert yaml.safe_load(text)["name"] == name


def commands(*pages):
    text = "".join(page.read_text() for page in pages).replace("\\\n", " ")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    # limbeck new composes nothing: tests/losses/test_own_loss.py calls it.
    return [line.split("#")[0].strip() for line in lines if re.match(r"limbeck (?!new )", line)]


PAGES = [home() / name for name in ("README.md", "docs/howto/scores.md", "docs/howto/evaluation.md")]
PAGES += sorted((home() / "docs" / "reproduction").glob("*.md"))


@pytest.mark.parametrize("command", dict.fromkeys(commands(*PAGES)))
def test_commands_of_the_pages(command, composed):
    _, verb, *words = shlex.split(command)
    words = [word for word in words if word not in ("-m", "--cfg", "job", "--dry-run", "--help")]
    # One job of a grid is as good as all of them.
    first = [word if set("[{") & set(word) else word.split(",")[0] for word in words]
    composed(*(with_name(first) if verb == "report" else first), verb=verb)


GRIDS = [each for each in dict.fromkeys(commands(*PAGES[:1])) if re.search(r" -m | sweeps=quick", each)]
"""The small ones; ``test_every_sweep_composes…`` has the others."""


@pytest.mark.parametrize("command", GRIDS)
def test_grids_of_the_readme_as_they_are_typed(command, limbeck):
    _, verb, *words = shlex.split(command)
    status, out, err = limbeck(verb, *words, *([] if "--dry-run" in words else ["--dry-run"]), small=False)
    assert status == 0, err
    assert re.search(r": \d+ runs, \d+ to run", out)


def test_the_readme_names_make_targets_that_exist():
    readme, makefile = ((home() / name).read_text() for name in ("README.md", "Makefile"))
    for target in re.findall(r"`?make (\w+)", readme):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert Path(home() / "LICENSE").read_text().lstrip().startswith("Apache License")
