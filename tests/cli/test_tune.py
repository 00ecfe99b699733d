"""Studies of real trainings: searched, pruned, refused, killed and gone on with; the best as an experiment."""

import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from forked import STALE
from limbeck.config import home, run_id
from limbeck.experiment.run_folder import RunFolder
from limbeck.tuning import process

SPACE = (
    "tune.space={loss.ckl.gamma: {kind: choice, values: [5, 0.5]}, optim.lr: {kind: choice, values: ['1e-2', '1e-9']}}"
)
QUICK = ["eval.start=false", "eval.teacher=false"]
PRESETS = sorted(path.stem for path in (home() / "conf" / "tuning").glob("*.yaml"))


def study_of(path, name):
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}/runs/{name}/study.db")


def test_a_dry_run_shows_the_space_and_a_configuration_and_trains_nothing(limbeck, tmp_path):
    space = (
        "tune.space={optim.lr: {kind: log, low: 1e-5, high: 1e-3}, loss.ckl.gamma: {kind: int, low: 2, high: 9}, "
        "loss: {kind: choice, values: ['[kl]', '[ckl]']}}"
    )
    status, out, err = limbeck("tune", space, "tune.trials=7", "name=dry", "--dry-run")
    assert status == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "dry: 7 trials of sampler tpe, pruner median, judged by ndcg@10 on dev"
    assert {"loss choice [kl], [ckl]", "optim.lr log 1e-05 to 0.001", "loss.ckl.gamma int 2 to 9"} < set(lines)
    assert "one configuration: loss=[kl] optim.lr=1e-05" in lines  # which has no gamma
    assert {"loss kl", "learning rate 1e-05", "training 8 steps", "collection synthetic"} < set(lines)
    assert not (tmp_path / "runs").exists()
    _, out, _ = limbeck("tune", SPACE, "tune.sampler=grid", "--dry-run")
    assert "tune: 4 trials of sampler grid" in out
    assert "the first configuration: loss.ckl.gamma=5 optim.lr=1e-2" in out


@pytest.fixture
def copied(forked, monkeypatch):
    """Start trials as copies of this process."""
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}
    monkeypatch.setattr(process, "subprocess", SimpleNamespace(Popen=forked.Popen, **names))


@pytest.mark.usefixtures("copied")
def test_a_study_ends_with_the_best_as_an_experiment(limbeck, tmp_path):
    words = [*QUICK, "trainer.steps=30", "trainer.validate_every=5", "trainer.checkpoint_every=10", "name=a"]
    words += [SPACE, "tune.sampler=grid", "tune.trials=3", "tune.startup=1"]
    status, out, err = limbeck("tune", *words)
    assert status == 0, err
    best, bad, refused = study_of(tmp_path, "a").get_trials()
    assert best.state.name == "COMPLETE"
    run = tmp_path / best.user_attrs["run"]
    result = json.loads((run / "result.json").read_text())
    assert best.value == result["training"]["dev/ndcg@10"] == max(best.intermediate_values.values())
    assert json.loads((run / "env.json").read_text())["command"][:2] == ["limbeck", "train"]
    assert bad.state.name == "PRUNED"
    assert bad.last_step < 30
    folder = RunFolder(tmp_path / bad.user_attrs["run"])
    assert folder.state() == "ended early by a study; goes on from its last checkpoint"
    assert not (folder.path / "error.txt").exists()
    assert not folder.busy()
    assert refused.state.name == "FAIL"
    assert refused.user_attrs["error"].startswith("loss.ckl.gamma must be > alpha")
    assert "a: the best of 3 trials (1 completed, 1 ended early, 1 failed) of 3" in " ".join(out.split())
    assert "[3/3] trial 2: loss.ckl.gamma=0.5 optim.lr=1e-2 failed: loss.ckl.gamma must be > alpha" in err

    text = (tmp_path / "runs" / "a" / "best.yaml").read_text()
    assert f"{best.value:.4f} on dev, trial 0 of 3" in text
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(text)
    given = ["--config-dir", "own", "experiment=mine"]
    status, out, err = limbeck("train", *given, "dry_run=true", small=False)
    assert status == 0, err
    assert f"runs/a_best/{run.name}: to run" in out

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")}
    status, _, err = limbeck("tune", *words)
    assert status == 0, err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")} == before
    assert (tmp_path / "runs" / "a" / "best.yaml").read_text().split("\n# Command")[0] == text.split("\n# Command")[0]

    status, _, err = limbeck("tune", *words, "seed=2")
    assert status == 2
    assert "name=a: this study was started with another seed" in err


@pytest.mark.slow
@pytest.mark.usefixtures("copied")
def test_a_killed_study_goes_on_where_it_was(limbeck, forked, tmp_path, small, cache):
    words = [*QUICK, "trainer.steps=40", "trainer.validate_every=5", "trainer.checkpoint_every=5", "name=k"]
    words += ["sampler.workers=1"]
    words += ["tune.space={optim.lr: {kind: log, low: 1e-3, high: 1e-2}}", "tune.trials=1"]
    parent = forked.start(["tune", *small, f"paths.cache={cache}", *words], tmp_path, env=STALE)

    def validated():
        found = list((tmp_path / "runs" / "k").glob("*/validations.jsonl"))
        return len(found[0].read_text().splitlines()) if found else 0

    forked.wait_for(lambda: validated() >= 2, 240)
    others = forked.below(parent)
    os.kill(parent, signal.SIGKILL)
    assert forked.status(parent) == -signal.SIGKILL, (tmp_path / "output").read_text()
    assert len(others) == 2  # the training, and a worker of its loader
    assert forked.gone(others, 60) == []
    (run,) = [path.parent for path in (tmp_path / "runs" / "k").glob("*/config.yaml")]
    assert not RunFolder(run).busy()
    reached = validated()
    assert reached < 8
    assert not (run / "result.json").exists()
    (left,) = study_of(tmp_path, "k").get_trials()
    assert left.state.name == "RUNNING"

    status, _, err = limbeck("tune", *words)
    assert status == 0, err
    assert "going on with trials 0" in err
    (trial,) = study_of(tmp_path, "k").get_trials()
    assert trial.state.name == "COMPLETE"
    assert trial.params == left.params
    assert sorted(trial.intermediate_values) == list(range(5, 41, 5))
    assert "going on from" in (run / "train.log").read_text()
    assert len(list((tmp_path / "runs" / "k").glob("*/config.yaml"))) == 1


LR = "tune.space={optim.lr: {kind: log, low: 1e-5, high: 1e-3}}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "tune.space must be given"),
        (["tune.space={optim.lr: {kind: log, low: 1, high: 1}}"], "tune.space.optim.lr: low must be < high"),
        (
            ["tune.space={optim.rate: {kind: float, low: 1, high: 2}}"],
            "tune.space.optim.rate: optim.rate=1.0 is refused: optim.rate is no key of the configuration",
        ),
        (
            ["tune.space={trainer.steps: {kind: float, low: 1, high: 2}}"],
            "tune.space.trainer.steps: trainer.steps=1.0 is refused: trainer.steps: Value '1.0'",
        ),
        (
            ["tune.space={loss: {kind: choice, values: [kl, ckll]}}"],
            "tune.space.loss: loss=ckll is refused: loss=ckll does not exist; did you mean ckl",
        ),
        ([LR, "tune.trials=0"], "tune.trials must be >= 1"),
        ([LR, "trainer.validate_every=0"], "trainer.validate_every is 0"),
        ([LR, "data.dev=null"], "data.dev is null"),
        ([LR, "data.dev=test"], "data.dev and data.test are both 'test'"),
        ([LR, "loss=ckll"], "loss=ckll does not exist"),
        ([LR, "~logger"], "limbeck tune takes only overrides key=value"),
        ([LR, "tune.workers=2", "trainer.devices=2"], "tune.workers > 1 gives each trial one device"),
        ([LR, "-m", "seed=1,2"], "limbeck tune is a search by itself"),
        ([LR, "tune.storage=nonsense"], "tune.storage: nonsense cannot be opened"),
    ],
)
def test_what_cannot_be_searched_is_said_at_once(limbeck, tmp_path, words, told):
    status, _, err = limbeck("tune", *words)
    assert status == 2
    assert told in err
    assert not list(Path(tmp_path).rglob("trials"))


def test_one_process_a_study(limbeck, tmp_path, waited_for):
    (tmp_path / "runs" / "tune").mkdir(parents=True)
    with waited_for(tmp_path / "runs" / "tune" / ".tune.lock"):
        status, _, err = limbeck("tune", LR, "tune.storage=nonsense")
    assert status == 2
    assert "tune.storage: nonsense cannot be opened" in err
    assert "waiting for the study in runs/tune (held by another process)" in err


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_space_and_says_what_it_asks(name):
    from hydra import compose, initialize_config_dir

    from limbeck.experiment.calling import _environment
    from limbeck.schemas import store_schemas
    from limbeck.tuning.configurations import Configurations, Planned
    from limbeck.tuning.space import parse

    text = (home() / "conf" / "tuning" / f"{name}.yaml").read_text()
    assert "# Question: " in text
    assert f"limbeck tune tuning={name}" in text
    _environment()
    store_schemas()
    with initialize_config_dir(str(home() / "conf"), version_base="1.3"):
        space = parse(compose("tune", [f"tuning={name}"]).tune.space)

        def typed(words):
            return compose("train", list(words))

        Configurations([], space, typed, lambda config, words: Planned({}, Path(run_id({}))), str)


def test_trials_see_other_folders_of_configurations(tmp_path):
    from hydra.types import RunMode

    from limbeck.experiment.calling import _environment
    from limbeck.experiment.tune import _loader
    from limbeck.schemas import store_schemas

    for folder, seed in (("given", 5), ("scratch", 6)):
        (tmp_path / folder / "experiment").mkdir(parents=True)
        text = f"# @package _global_\nseed: {seed}\n"
        (tmp_path / folder / "experiment" / f"{folder}.yaml").write_text(text)
        (tmp_path / folder / "experiment" / "both.yaml").write_text(text)
    _environment()
    store_schemas()
    loader = _loader([str(tmp_path / "given")], before=str(tmp_path / "scratch"))

    def seed(name):
        return loader.load_configuration("train", [f"experiment={name}"], RunMode.RUN).seed

    assert [seed(name) for name in ("given", "scratch", "both")] == [5, 6, 6]
