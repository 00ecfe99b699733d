"""Launchers with work that needs no training: what they yield, a process that dies, a GPU for each."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

from limbeck.config import ConfigError
from limbeck.launchers.joblib import Joblib
from limbeck.launchers.serial import Serial
from limbeck.launchers.slurm import Slurm, Task

# pytest imports this file under a name that other processes do not know.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """Say that there is no GPU: each process of joblib would import torch to count them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def double(job):
    return {"value": 2 * job["number"], "process": os.getpid(), "folder": os.getcwd()}


def double_or_die(job):
    """Die the first time that the second job is made."""
    mark = Path(job["folder"]) / "died"
    if job["number"] == 1 and (job["always"] or not mark.exists()):
        mark.touch()
        time.sleep(0.5)  # the others have begun
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": 2 * job["number"]}


def jobs(folder, count, always=False):
    return [{"number": number, "folder": str(folder), "always": always} for number in range(count)]


@pytest.mark.parametrize("launcher", [Serial(), Joblib(workers=2)], ids=["serial", "joblib"])
def test_each_job_is_made_once_and_told_by_its_position(launcher, tmp_path):
    found = dict(launcher.run(double, jobs(tmp_path, 6), tmp_path))
    assert {position: outcome["value"] for position, outcome in found.items()} == {n: 2 * n for n in range(6)}
    own = {outcome["process"] for outcome in found.values()}
    assert (own == {os.getpid()}) == isinstance(launcher, Serial)
    assert len(own) <= 2


def test_processes_that_stay_work_where_the_command_is_now(tmp_path, monkeypatch):
    """A notebook may go to another folder between two sweeps."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = dict(Joblib(workers=2).run(double, jobs(tmp_path, 2), tmp_path))
        assert {outcome["folder"] for outcome in found.values()} == {str(tmp_path / name)}


def test_joblib_tries_again_what_a_dead_process_left(tmp_path):
    found = dict(Joblib(workers=2).run(double_or_die, jobs(tmp_path, 4), tmp_path))
    assert {position: outcome["value"] for position, outcome in found.items()} == {0: 0, 1: 2, 2: 4, 3: 6}


def test_joblib_gives_up_on_what_kills_its_process_twice(tmp_path):
    found = dict(Joblib(workers=2).run(double_or_die, jobs(tmp_path, 2, always=True), tmp_path))
    assert sorted(found) == [0, 1]
    assert found[0] == {"value": 0}
    assert "was killed" in found[1]["error"]


def test_a_task_of_slurm_can_be_queued_again():
    task = pickle.loads(cloudpickle.dumps(Task(double, {"number": 4})))
    assert task()["value"] == 8
    again = task.checkpoint()
    assert again.function()["value"] == 8  # what submitit puts into the queue


def test_options_of_slurm_are_what_submitit_knows(tmp_path, monkeypatch):
    from submitit.slurm.slurm import SlurmExecutor

    monkeypatch.chdir(tmp_path)
    given = Slurm(partition="gpu", account="lab", minutes=30, more={"slurm_constraint": "a100"}).options
    assert given["timeout_min"] == 30
    own = {
        name.removeprefix("slurm_") for name, value in given.items() if name.startswith("slurm_") and value is not None
    }
    assert own == {"array_parallelism", "partition", "account", "constraint"}
    assert own <= SlurmExecutor._valid_parameters()
    assert not list(tmp_path.iterdir()), "submitit makes a folder for its logs where options are only looked at"


TAKE = """
import sys
from limbeck.launchers.devices import take
try:
    print(take(int(sys.argv[1])), flush=True)
except RuntimeError as error:
    print(error, flush=True)
sys.stdin.read()
"""


def test_no_two_processes_take_the_same_gpu(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "3,5", "TMPDIR": str(tmp_path)}
    started = []

    def start(per_device=1):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        words = [sys.executable, "-c", TAKE, str(per_device)]
        started.append(subprocess.Popen(words, env=environment, text=True, **pipes))
        return started[-1].stdout.readline().strip()

    try:
        assert [start(), start()] == ["3", "5"]
        assert "no GPU is free: 2 with 1 process each" in start()
        assert start(2) == "3"  # a second one on the same GPU, if that is wanted
        started[0].kill()
        started[0].wait()
        assert start() == "3"  # the system gives it back, however a process ends
    finally:
        for one in started:
            one.kill()
            one.communicate()


def test_without_a_gpu_none_is_taken():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", TAKE, "1"], input="", capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "None"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"more": [1]}, "^more must be null or options of submitit"),
        ({"more": "abc"}, "^more must be null or options of submitit"),
        ({"more": {"slurm_nope": 1}}, "^more is refused by submitit: Unknown argument 'nope' for executor 'slurm'"),
        ({"more": {"nope": 1}}, "^more is refused by submitit: Parameter 'nope' need to be prefixed"),
        ({"more": {"timeout_min": "1:00"}}, '^more is refused by submitit: Parameter "timeout_min" expected type'),
        ({"more": {"name": "mine"}}, "^more cannot hold name"),
        ({"gpus": -1}, "^gpus must be >= 0, got -1"),
        ({"requeues": -1}, "^requeues must be >= 0, got -1"),
    ],
)
def test_what_submitit_would_refuse_late(options, message):
    with pytest.raises(ValueError, match=message):
        Slurm(**options)


def test_a_machine_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"launcher=slurm: Could not detect \"srun\".*choose launcher=joblib"):
        next(Slurm().run(double, jobs(tmp_path, 1), tmp_path))


def test_slurm_that_refuses_jobs(tmp_path, monkeypatch):
    for name, text in {"srun": "exit 0", "sbatch": "echo invalid time limit >&2; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(
        ConfigError, match=r"SLURM refuses the jobs: .*invalid time limit.*; look at launcher\.partition"
    ):
        next(Slurm(more={"slurm_time": "soon"}).run(double, jobs(tmp_path, 1), tmp_path))


def test_joblib_starts_no_more_processes_than_jobs(tmp_path):
    found = dict(Joblib(workers=100_000).run(double, jobs(tmp_path, 2), tmp_path))
    assert {position: outcome["value"] for position, outcome in found.items()} == {0: 0, 1: 2}
