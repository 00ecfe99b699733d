"""Sweeps: what is made, by whom, how often; every launcher for real."""

import itertools
import json
import os
import re
import signal
from types import SimpleNamespace

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from submitit.local import local

from forked import STALE, wait_for

QUICK = ["eval.start=false", "eval.teacher=false", "trainer.steps=4", "trainer.validate_every=0"]
GRID = ["-m", "loss=kl,ckl,mse", "name=grid", *QUICK]
"""Three runs."""


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
    words = ["-m", "loss=kl,ckl", "student.scale=20,0", "name=grid", *QUICK]
    status, out, err = limbeck("train", *words)
    assert status == 1
    assert "2 of 4 runs failed" in err
    assert err.count("student.scale must be > 0") == 4  # as it happens, and in the list at the end
    assert "2 of 4 runs done, 2 failed; best ndcg@10" in err
    assert out.count("student, distilled") == 2
    assert len(finished(tmp_path / "runs" / "grid")) == 2
    status, out, err = limbeck("train", "-m", "loss=kl,ckl", "name=grid", *QUICK)
    assert status == 0
    assert err.count("is finished") == 2
    assert "training:" not in err
    for folder in (tmp_path / "runs" / "grid" / name for name in finished(tmp_path / "runs" / "grid")):
        own = json.loads((folder / "env.json").read_text())["overrides"]  # what makes just this run
        _, out, _ = limbeck("train", *own, "--dry-run", small=False)
        assert out == f"{folder.relative_to(tmp_path)}: finished\n"


def test_a_sweep_refuses_several_devices_in_one_run(limbeck):
    status, _, err = limbeck("train", "-m", "loss=kl,ckl", "trainer=ddp_cpu")
    assert status == 1
    assert "a sweep uses one device a run" in err


def test_a_dry_run_composes_each_run_once_lists_them_with_ids_and_makes_none(limbeck, tmp_path, monkeypatch):
    real, composed = ConfigLoaderImpl.load_sweep_config, []

    def compose(loader, whole, words):
        composed.append(words)
        return real(loader, whole, words)

    with monkeypatch.context() as patch:
        patch.setattr(ConfigLoaderImpl, "load_sweep_config", compose)
        status, out, _ = limbeck("train", "-m", "loss=kl,ckl", "student.scale=20", "name=grid", *QUICK, "--dry-run")
    assert status == 0
    assert [next(word for word in words if word.startswith("loss=")) for words in composed] == ["loss=kl", "loss=ckl"]
    assert "grid: 2 runs, 2 to run" in out
    listed = re.findall(r"loss=(\w+) +([0-9a-f]{8}) +to run", out)
    assert [loss for loss, _ in listed] == ["kl", "ckl"]
    assert not list(tmp_path.rglob("result.json"))
    limbeck("train", "-m", "loss=kl", "student.scale=20", "name=grid", *QUICK)
    assert finished(tmp_path / "runs" / "grid") == [listed[0][1]]  # the id that was told
    _, out, _ = limbeck("train", "-m", "loss=kl,ckl", "student.scale=20", "name=grid", *QUICK, "--dry-run")
    assert "grid: 2 runs, 1 to run" in out
    assert re.search(rf"loss=kl +{listed[0][1]} +finished", out)
    status, out, _ = limbeck("train", "loss=ckl", "student.scale=20", "name=grid", *QUICK, "--dry-run")
    assert (status, out) == (0, f"runs/grid/{listed[1][1]}: to run\n")


def test_a_run_that_a_sweep_names_twice_is_made_once(limbeck, tmp_path):
    status, out, err = limbeck("train", "-m", "loss=kl,[kl]", "name=twice", *QUICK)
    assert status == 0
    assert "is the same run as another one" in err
    assert trained(tmp_path / "runs" / "twice") == dict.fromkeys(finished(tmp_path / "runs" / "twice"), 1)
    assert out.count("student, distilled") == 2


def test_a_killed_sweep_makes_only_what_is_missing_and_ends_in_the_same_table(limbeck, forked, small, cache, tmp_path):
    def killed_in_the_second_run():
        from limbeck.training.module import Distillation

        begun = itertools.count(1)
        Distillation.on_train_start = lambda _: next(begun) == 2 and os.kill(os.getpid(), signal.SIGKILL)

    status, undisturbed, _ = limbeck("train", *GRID, "paths.runs=undisturbed")
    assert status == 0
    words = ["train", *small, f"paths.cache={cache}", *GRID]
    status, _ = forked.run(words, tmp_path, first=killed_in_the_second_run)
    assert status == -signal.SIGKILL
    before = finished(tmp_path / "runs" / "grid")
    assert len(before) == 1
    status, table, err = limbeck("train", *GRID)
    assert status == 0
    assert table == undisturbed
    assert err.count("is finished") == 1
    counts = trained(tmp_path / "runs" / "grid")
    assert len(counts) == 3
    assert all(counts[name] == 1 for name in before)


def test_two_workers_on_one_sweep_never_train_the_same_run_twice(forked, small, cache, tmp_path):
    words = ["train", *small, f"paths.cache={cache}", *GRID]
    both = [forked.start(words, tmp_path, log=log) for log in ("one", "other")]
    ended = [forked.status(child) for child in both]
    outputs = [(tmp_path / log).read_text() for log in ("one", "other")]
    assert ended == [0, 0], outputs
    counts = trained(tmp_path / "runs" / "grid")
    assert len(counts) == 3
    assert set(counts.values()) == {1}
    tables = [[line for line in text.splitlines() if "whole collection" in line] for text in outputs]
    assert tables[0] == tables[1] != []  # both end in the whole table
    shares = [len(re.findall(r"training: \d+ steps", text)) for text in outputs]
    assert sum(shares) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("forked_joblib")
def test_processes_of_joblib_make_the_same_runs_in_any_shell(limbeck, monkeypatch, tmp_path):
    words = ["-m", "loss=kl,ckl", "student.scale=20,0", "name=grid", *QUICK]
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
def test_what_slurm_takes_off_a_node_goes_on_in_another_job(limbeck, forked, small, cache, tmp_path, monkeypatch):
    """Processes of submitit, copies of this one: one that controls, the job, and the other job."""
    monkeypatch.setattr(local, "subprocess", SimpleNamespace(Popen=forked.Popen))
    words = [
        "name=queued",
        "seed=1",
        *QUICK,
        "trainer.steps=40",
        "trainer.validate_every=20",
        "trainer.checkpoint_every=2",
    ]
    launched = ["-m", *words, "launcher=slurm", "launcher.cluster=local"]
    started = forked.start(
        ["train", *small, f"paths.cache={cache}", *launched], tmp_path, env=STALE
    )  # from another job
    (saved,) = wait_for(lambda: list((tmp_path / "runs" / "queued").glob("*/checkpoints/last.ckpt")))
    job = int((saved.parents[1] / ".lock").read_text().split()[0])
    os.kill(job, signal.SIGUSR2)  # what SLURM sends before it takes a node back
    assert forked.status(started) == 0, (tmp_path / "output").read_text()
    (run,) = [tmp_path / "runs" / "queued" / name for name in finished(tmp_path / "runs" / "queued")]
    assert "going on from" in (run / "train.log").read_text()
    limbeck("train", *words, "paths.runs=undisturbed")
    assert rows(run) == rows(tmp_path / "undisturbed" / "queued" / run.name)


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
