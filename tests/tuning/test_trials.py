"""The loop, with real processes that stand for trainings: they validate by a formula, slowly or at once."""

import json
import os
import time
from pathlib import Path

import optuna
import pytest

from limbeck.config import ConfigError, fingerprint
from limbeck.tuning.configurations import Configurations, Planned
from limbeck.tuning.process import TAKE_DEVICE, Process, environment
from limbeck.tuning.settings import Settings
from limbeck.tuning.space import grid, parse
from limbeck.tuning.study import enqueue, open_study
from limbeck.tuning.trials import Runs, Search, grid_points

TRAINING = """
import json, pathlib, sys, time
folder, x, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts").open("a") as file:
    file.write("x")
if x == 7:
    sys.exit("limbeck: x must not be 7")
for step in (1, 2, 3, 4):
    with (folder / "validations.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "of": 4, "value": step / 4 * -((x - 3) ** 2)}) + "\\n")
    time.sleep(60 if x == 0 else seconds)  # so that one ends by being ended alone
(folder / "value").write_text(str(-((x - 3) ** 2)))
"""


class Stand:
    """Puts a study together; ``seconds`` between validations."""

    def __init__(self, path, seconds=0.0):
        path.mkdir(exist_ok=True)
        (path / "training.py").write_text(TRAINING)
        self.path = path
        self.seconds = seconds
        self.told = []
        self.most = 0
        self.processes = []

    def planned(self, composed, _words):
        return Planned(composed, self.path / fingerprint(composed)[:8])

    def compose(self, words):
        config = dict(word.split("=") for word in words)
        if set(config) - {"x", "kind", "y"} or ("y" in config and config.get("kind") != "curved"):
            raise ConfigError(f"no key of the configuration: {sorted(config)}")
        return config

    def start(self, words, log, environment):
        folder = self.planned(self.compose(words), words).folder
        seen = {**environment, "PYTHONPATH": str(self.path)}
        x = self.compose(words).get("x", "1")
        process = Process("training", [str(folder), x, str(self.seconds)], log, seen)
        self.processes.append(process)
        self.most = max(self.most, sum(each.status() is None for each in self.processes))
        return process

    def value(self, folder):
        return float((folder / "value").read_text()) if (folder / "value").exists() else None

    def search(self, settings, space, busy=lambda _: False):
        parameters = parse(space)
        configurations = Configurations([], parameters, self.compose, self.planned, str)
        study = open_study(settings, "a", self.path, {"seed": 1}, parameters, "ndcg@10")
        total = settings.trials
        if settings.sampler == "grid":
            points = grid_points(configurations)[:total]
            enqueue(study, points)
            total = len(points)
        runs = Runs(self.start, busy, self.value)
        Search(settings, study, configurations, runs, self.path, total, lambda *told: self.told.append(told)).run()
        return study

    def starts(self):
        return sum(len(path.read_text()) for path in self.path.glob("*/starts"))


X = {"x": {"kind": "float", "low": 0, "high": 6}}


def choices(*values):
    return {"x": {"kind": "choice", "values": list(values)}}


def states(study):
    return [trial.state.name for trial in study.get_trials()]


def test_a_search_finds_the_best_and_is_the_same_in_pieces(tmp_path):
    whole = Stand(tmp_path / "whole")
    study = whole.search(Settings(trials=5, startup=2, pruner="none"), X)
    assert states(study) == ["COMPLETE"] * 5
    assert study.best_value == max(trial.value for trial in study.trials)
    assert [done for _, done, _ in whole.told] == list(range(1, 6))
    for trials in (1, 3, 5, 5):
        pieces = Stand(tmp_path / "pieces").search(Settings(trials=trials, startup=2, pruner="none"), X)
    assert [trial.params for trial in pieces.trials] == [trial.params for trial in study.trials]
    assert len({trial.params["x"] for trial in study.trials}) == 5


def test_a_bad_trial_is_ended_early_and_a_refused_one_fails(tmp_path):
    stand = Stand(tmp_path)
    settings = Settings(sampler="grid", trials=9, startup=1)
    study = stand.search(settings, choices(3, 0, 7))
    assert states(study) == ["COMPLETE", "PRUNED", "FAIL"]
    assert study.trials[1].last_step == 1
    assert study.trials[2].user_attrs["error"] == "x must not be 7"
    folder = Path(study.trials[1].user_attrs["run"])
    told = json.loads((folder / "pruned.json").read_text())
    assert told["trial"] == 1
    assert told["step"] == study.trials[1].last_step
    assert stand.value(folder) is None
    assert stand.processes[1].status() is not None


def test_a_trial_that_was_left_goes_on_under_its_number(tmp_path):
    stand = Stand(tmp_path)
    settings = Settings(sampler="grid", trials=3, pruner="none")
    parameters = parse(choices(3, 1, 2))
    study = open_study(settings, "a", tmp_path, {"seed": 1}, parameters, "ndcg@10")
    enqueue(study, grid(parameters))
    left = study.ask()  # as a process that was killed leaves it
    left.suggest_categorical("x", ("3", "1", "2"))
    left.report(-0.0, 1)
    study = stand.search(settings, choices(3, 1, 2))
    assert states(study) == ["COMPLETE"] * 3
    assert [trial.params["x"] for trial in study.trials] == ["3", "1", "2"]
    assert stand.starts() == 3


def test_what_is_finished_is_not_started_again(tmp_path):
    stand = Stand(tmp_path)
    folder = stand.planned({"x": "1"}, []).folder
    folder.mkdir()
    (folder / "value").write_text("5.0")
    study = stand.search(Settings(sampler="grid", trials=2), choices(1, 3))
    assert [trial.value for trial in study.trials] == [5.0, 0.0]
    assert stand.starts() == 1


def test_a_run_that_someone_else_makes_is_waited_for(tmp_path):
    stand = Stand(tmp_path)
    looks = []

    def busy(folder):
        looks.append(folder)
        return len(looks) < 4

    stand.search(Settings(trials=1), X, busy)
    assert len(looks) >= 4
    assert stand.starts() == 1


def test_workers_are_at_work_at_once(tmp_path):
    stand = Stand(tmp_path, seconds=0.3)
    study = stand.search(Settings(trials=4, workers=2, pruner="none"), X)
    assert stand.most == 2
    assert states(study) == ["COMPLETE"] * 4


def test_each_worker_takes_a_device_and_a_share_of_the_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert environment(1) == {}
    assert environment(3) == {"OMP_NUM_THREADS": "2", TAKE_DEVICE: "1"}


def test_a_grid_leaves_out_what_a_configuration_lacks(tmp_path):
    space = {
        "kind": {"kind": "choice", "values": ["flat", "curved"]},
        "y": {"kind": "int", "low": 1, "high": 3},
    }
    study = Stand(tmp_path).search(Settings(sampler="grid", trials=99, pruner="none"), space)
    assert [trial.params for trial in study.trials] == [
        {"kind": "flat"},
        *({"kind": "curved", "y": y} for y in (1, 2, 3)),
    ]


def test_a_key_that_no_choice_brings_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"tune\.space\.z: z=0\.0 is refused: no key"):
        Stand(tmp_path).search(Settings(), {**X, "z": {"kind": "float", "low": 0, "high": 1}})


def test_another_question_is_another_study(tmp_path):
    Stand(tmp_path).search(Settings(trials=1), X)
    with pytest.raises(ConfigError, match=r"name=a: this study was started with another space\.x\.high"):
        Stand(tmp_path).search(Settings(trials=2), {"x": {"kind": "float", "low": 0, "high": 7}})


def test_a_study_without_a_trial_that_works_is_given_up(tmp_path):
    with pytest.raises(ConfigError, match="the first 5 trials all failed; the last: x must not be 7"):
        Stand(tmp_path).search(Settings(trials=99, sampler="random"), {"x": {"kind": "choice", "values": ["7", "7.0"]}})


def test_no_trial_begins_after_the_timeout(tmp_path):
    study = Stand(tmp_path, seconds=0.2).search(Settings(trials=99, timeout=0.1, pruner="none"), X)
    assert states(study) == ["COMPLETE"]


def test_a_process_is_ended_with_what_it_has_started(tmp_path):
    (tmp_path / "parent.py").write_text(
        "import pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    process = Process("parent", [], tmp_path / "log", {"PYTHONPATH": str(tmp_path)})
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.05)
    import limbeck.tuning.process as module

    grace, module._GRACE = module._GRACE, 0.3
    try:
        process.stop()
    finally:
        module._GRACE = grace
    assert process.status() is not None
    pid = int((tmp_path / "child").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
                break
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child lives on")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"trials": 0}, "trials must be >= 1"),
        ({"workers": 0}, "workers must be >= 1"),
        ({"timeout": 0.0}, "timeout must be > 0"),
        ({"sampler": "cma"}, "sampler must be one of tpe, random, grid"),
        ({"pruner": "x"}, "pruner must be one of median, hyperband, none"),
        ({"direction": "up"}, "direction must be one of maximize, minimize"),
        ({"metric": "test/ndcg@10"}, "metric must be of the dev split"),
    ],
)
def test_settings_out_of_range_are_named(option, told):
    with pytest.raises(ValueError, match=told):
        Settings(**option)


def test_hyperband_ends_trials_too(tmp_path):
    study = Stand(tmp_path).search(Settings(trials=3, pruner="hyperband"), X)
    assert set(states(study)) <= {"COMPLETE", "PRUNED"}
    assert isinstance(study.pruner, optuna.pruners.HyperbandPruner)
