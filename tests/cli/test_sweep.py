"""Sweeps: what is made, by whom, how often; every launcher for real."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from forked import STALE, wait_for

GRID = [
    "-m",
    "loss=kl,ckl,margin_mse",
    "seed=1,2,3,4",
    "name=grid",
    "eval.start=false",
    "eval.teacher=false",
    "trainer.steps=4",
]
"""Twelve runs."""


def finished(folder):
    return sorted(path.parent.name for path in folder.glob("*/result.json"))


def trained(folder):
    """Return how often each run was trained."""
    logs = {path.parent.name: path.read_text() for path in folder.glob("*/train.log")}
    return {name: len(re.findall(r"training: \d+ steps", text)) for name, text in logs.items()}


def test_a_sweep_makes_one_table_and_goes_on_past_a_failure(limbeck, tmp_path):
    status, _, err = limbeck("train", "-m", "loss=kl,nonsense,ckl", "name=grid")
    assert status == 2  # a job that does not even compose is found before anything is trained
    assert "loss=nonsense does not exist" in err
    words = ["-m", "loss=kl,ckl", "student.scale=20,0", "name=grid"]
    status, out, err = limbeck("train", *words)
    assert status == 1
    assert "2 of 4 runs failed" in err
    assert err.count("student.scale must be > 0") == 4  # as it happens, and in the list at the end
    assert "2 of 4 runs done, 2 failed; best ndcg@10" in err
    assert out.count("student, distilled") == 2
    assert len(finished(tmp_path / "runs" / "grid")) == 2
    status, out, err = limbeck("train", "-m", "loss=kl,ckl", "name=grid")
    assert status == 0
    assert err.count("is finished") == 2
    assert "training:" not in err


def test_a_sweep_refuses_several_devices_in_one_run(limbeck):
    status, _, err = limbeck("train", "-m", "loss=kl,ckl", "trainer=ddp_cpu")
    assert status == 1
    assert "a sweep uses one device a run" in err


def test_a_dry_run_lists_runs_and_ids_and_makes_none(limbeck, tmp_path):
    status, out, _ = limbeck("train", "-m", "loss=kl,ckl", "student.scale=20", "name=grid", "--dry-run")
    assert status == 0
    assert "grid: 2 runs, 2 to make" in out
    listed = re.findall(r"loss=(\w+) +([0-9a-f]{8}) +to make", out)
    assert [loss for loss, _ in listed] == ["kl", "ckl"]
    assert not list(tmp_path.rglob("result.json"))
    limbeck("train", "-m", "loss=kl", "student.scale=20", "name=grid")
    assert finished(tmp_path / "runs" / "grid") == [listed[0][1]]  # the id that was told
    _, out, _ = limbeck("train", "-m", "loss=kl,ckl", "student.scale=20", "name=grid", "--dry-run")
    assert "grid: 2 runs, 1 to make" in out
    assert re.search(rf"loss=kl +{listed[0][1]} +finished", out)
    status, out, _ = limbeck("train", "loss=ckl", "student.scale=20", "name=grid", "--dry-run")
    assert (status, out) == (0, f"runs/grid/{listed[1][1]}: to make\n")


def test_a_run_that_a_sweep_names_twice_is_made_once(limbeck, tmp_path):
    status, out, err = limbeck("train", "-m", "loss=kl,[kl]", "name=twice")
    assert status == 0
    assert "is the same run as another one" in err
    assert trained(tmp_path / "runs" / "twice") == dict.fromkeys(finished(tmp_path / "runs" / "twice"), 1)
    assert out.count("student, distilled") == 2


def test_a_run_knows_the_overrides_that_make_just_it(limbeck, tmp_path):
    limbeck("train", "-m", "loss=kl,ckl", "name=own")
    folders = [tmp_path / "runs" / "own" / name for name in finished(tmp_path / "runs" / "own")]
    for folder in folders:
        told = json.loads((folder / "env.json").read_text())["overrides"]
        _, out, _ = limbeck("train", *told, "--dry-run", small=False)
        assert out == f"{folder.relative_to(tmp_path)}: finished\n"


@pytest.mark.slow
def test_a_killed_sweep_makes_only_what_is_missing_and_ends_in_the_same_table(limbeck, forked, small, cache, tmp_path):
    status, undisturbed, _ = limbeck("train", *GRID, "paths.runs=undisturbed")
    assert status == 0
    started = forked.start(["train", *small, f"paths.cache={cache}", *GRID], tmp_path)
    wait_for(lambda: len(finished(tmp_path / "runs" / "grid")) >= 4)
    os.killpg(started, signal.SIGKILL)
    assert forked.status(started) == -signal.SIGKILL
    before = finished(tmp_path / "runs" / "grid")
    assert 4 <= len(before) < 12
    status, table, err = limbeck("train", *GRID)
    assert status == 0
    assert table == undisturbed
    assert err.count("is finished") == len(before)
    counts = trained(tmp_path / "runs" / "grid")
    assert len(counts) == 12
    assert all(counts[name] == 1 for name in before)


@pytest.mark.slow
def test_two_workers_on_one_sweep_never_train_the_same_run_twice(process, tmp_path):
    words = [word.replace("1,2,3,4", "1,2") for word in GRID]
    both = [process(*words), process(*words)]
    outputs = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    counts = trained(tmp_path / "runs" / "grid")
    assert len(counts) == 6
    assert set(counts.values()) == {1}
    assert outputs[0][0] == outputs[1][0]  # both end in the whole table
    shares = [len(re.findall(r"training: \d+ steps", err)) for _, err in outputs]
    assert sum(shares) == 6


@pytest.mark.slow
def test_processes_of_joblib_make_the_same_runs_in_any_shell(limbeck, monkeypatch, tmp_path):
    words = ["-m", "loss=kl,ckl", "student.scale=20,0", "name=grid"]
    _, expected, _ = limbeck("train", *words, "paths.runs=serial")
    for variable, value in STALE.items():
        monkeypatch.setenv(variable, value)
    status, out, err = limbeck("train", *words, "launcher=joblib")
    assert status == 1
    assert "2 of 4 runs failed" in err
    assert "student.scale must be > 0" in err
    assert out == expected
    for name in finished(tmp_path / "serial" / "grid"):
        assert rows(tmp_path / "runs" / "grid" / name) == rows(tmp_path / "serial" / "grid" / name)
        command = json.loads((tmp_path / "runs" / "grid" / name / "env.json").read_text())["command"]
        assert command[:2] == ["limbeck", "train"]  # what was typed, not what a worker was started with


def rows(folder):
    return json.loads((folder / "result.json").read_text())["rows"]


@pytest.mark.slow
def test_what_slurm_takes_off_a_node_goes_on_in_another_job(limbeck, process, monkeypatch, tmp_path):
    for variable, value in STALE.items():  # submitted from within another job
        monkeypatch.setenv(variable, value)
    words = ["-m", "name=queued", "seed=1", "student.scale=20,0", "trainer.steps=100", "trainer.validate_every=50"]
    started = process(*words, "launcher=slurm", "launcher.cluster=local")
    wait_for(lambda: list((tmp_path / "runs" / "queued").glob("*/checkpoints/last.ckpt")))
    # Two jobs of the array; the impossible one may have ended.
    tasks = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_task(path, tmp_path)]
    assert tasks
    for task in tasks:
        os.kill(int(task.parent.name), signal.SIGUSR2)  # what SLURM sends before it takes a node back
    _, err = started.communicate(timeout=300)
    assert started.returncode == 1, err
    assert "1 of 2 runs failed" in err
    assert "student.scale must be > 0" in err
    (run,) = [tmp_path / "runs" / "queued" / name for name in finished(tmp_path / "runs" / "queued")]
    assert "going on from" in (run / "train.log").read_text()
    limbeck("train", *words[1:3], "student.scale=20", *words[4:], "paths.runs=undisturbed")
    assert rows(run) == rows(tmp_path / "undisturbed" / "queued" / run.name)


def _is_task(path, folder):
    try:
        words = path.read_bytes().decode(errors="replace")
    except OSError:
        return False
    return "submitit.core._submit" in words and str(folder) in words and "--" not in words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["launcher=joblib", "launcher.workers=0"], "launcher.workers must be >= 1, got 0"),
        (["launcher=slurm", "launcher.cluster=moon"], "launcher.cluster must be slurm or local, got 'moon'"),
        (["launcher=slurm", "launcher.minutes=0"], "launcher.minutes must be >= 1, got 0"),
        (["launcher=serial", "launcher.workers=2"], "launcher.workers is no key of the configuration"),
        (["launcher=slurmy"], "launcher=slurmy does not exist; did you mean slurm?"),
    ],
    ids=str,
)
def test_a_wrong_launcher_is_refused_before_anything_is_made(words, told, limbeck, tmp_path):
    status, _, err = limbeck("train", "-m", "loss=kl,ckl", *words)
    assert status == 2
    assert told in err
    assert not list(tmp_path.rglob("train.log"))
