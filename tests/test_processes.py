"""Processes end with the one that started them: real ones, really killed; ``/proc`` says what is left."""

import os
import signal
import subprocess
import sys

import pytest

from forked import below, gone, wait_for

SOON = 60.0
"""Seconds in which all must be gone, on the busiest machine; on an idle one it takes half a second a generation."""

CHAIN = """
import os, subprocess, sys, time
from limbeck.processes import end_with_parent, naming_this

end_with_parent()
command = [sys.executable, __file__, *sys.argv[2:]]
if sys.argv[1] == "child":
    subprocess.Popen(command, env=os.environ | naming_this())
elif sys.argv[1] == "behind a shell":
    subprocess.Popen(f"{' '.join(command)}; true", shell=True, env=os.environ | naming_this())
elif sys.argv[1] == "its own":
    subprocess.Popen(command)
elif sys.argv[1] == "late":  # its parent is gone before it looks
    subprocess.Popen(["sh", "-c", f"sleep 1; exec {' '.join(command)}"], env=os.environ | naming_this())
time.sleep(600)
"""


@pytest.fixture
def chain(tmp_path):
    """Start a process that starts others; returns it, and those below it."""
    script = tmp_path / "chain.py"
    script.write_text(CHAIN)
    started, seen = [], {}

    def start(*words, generations):
        started.append(subprocess.Popen([sys.executable, script, *words, "end"], start_new_session=True))
        found = wait_for(lambda: len(each := below(started[-1].pid)) >= generations and each)
        seen.update(found)
        return started[-1], found

    yield start
    for one in started:
        one.kill()
        one.wait()
    for number, _ in seen:
        if gone({each: "" for each in seen if each[0] == number}, 0):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_all_generations_end_with_the_first(chain, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("what nohup starts ignores this signal, and so do its children")
    first, others = chain("child", "child", generations=2)
    assert gone(others, 1.2) != [], "they live while it does"
    first.send_signal(number)
    assert first.wait() == -number
    assert gone(others, SOON) == []


def test_a_shell_between_does_not_hide_that_the_parent_is_gone(chain):
    first, _ = chain("behind a shell", generations=2)
    others = wait_for(lambda: {each: command for each, command in below(first.pid).items() if "sh -c" not in command})
    first.kill()
    first.wait()
    assert gone(others, SOON) == []


def test_a_parent_that_is_gone_before_its_child_looks_is_missed(chain):
    first, others = chain("late", generations=1)
    first.kill()
    assert gone(others, SOON) == [], "nobody has waited for the first yet: it may be they that are waited for"
    first.wait()


def test_what_somebody_else_starts_goes_on(chain):
    """Only children of ours end: a command in the background of a shell is not ours to end."""
    first, others = chain("its own", generations=1)
    first.kill()
    first.wait()
    assert gone(others, 1.5) != []


WORKERS = """
import sys, time
from pathlib import Path
from limbeck.launchers.{module} import {name}

if __name__ == "__main__":
    launcher = {name}({options})
    list(launcher.run(time.sleep, {jobs}, Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("module", "name", "options", "jobs", "count"),
    [
        ("joblib", "Joblib", "workers=2", "[600, 600]", 2),
        ("joblib", "Joblib", "workers=2", "[600]", 2),  # one of them waits for work
        ("slurm", "Slurm", 'cluster="local"', "[600]", 2),  # submitit's process, and the job
    ],
    ids=["joblib", "joblib, idle", "slurm, local"],
)
def test_workers_of_a_launcher_end_with_the_sweep(module, name, options, jobs, count, tmp_path):
    script = tmp_path / "sweep.py"
    script.write_text(WORKERS.format(module=module, name=name, options=options, jobs=jobs))
    no_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # or each worker would import torch to count them
    sweep = subprocess.Popen([sys.executable, script, tmp_path], cwd=tmp_path, env=no_gpu, start_new_session=True)
    try:

        def at_work():
            found = below(sweep.pid)
            ours = [command for command in found.values() if "tracker" not in command]
            logs = list(tmp_path.glob(".submitit/*.out"))
            return found if len(ours) >= count and (module == "joblib" or logs) else None

        others = wait_for(at_work)
    finally:
        sweep.kill()
        sweep.wait()
    left = gone(others, SOON)
    for number, _ in others if left else ():
        os.kill(number, signal.SIGKILL)
    assert left == []


def test_a_device_s_process_ends_with_the_evaluation(tmp_path):
    """Even while it imports what it needs."""
    words = "lambda number: ['limbeck.experiment.share', 'absent', str(number)]"
    code = f"from limbeck.experiment.devices import each_device; each_device(2, {words})"
    first = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    try:
        others = wait_for(lambda: len(found := below(first.pid)) == 2 and found)
    finally:
        first.kill()
        first.wait()
    assert gone(others, SOON) == []


LONG = ["trainer.steps=100000", "trainer.validate_every=0", "trainer.checkpoint_every=20", "eval.start=false"]
LONG += ["eval.teacher=false", "logger=wandb", "sampler.workers=1"]


@pytest.mark.slow
def test_loader_workers_and_the_process_of_wandb_end_with_a_sweep(forked, small, cache, tmp_path):
    """They are grandchildren: of two workers of joblib, one trains and has started them."""
    command = ["train", *small, f"paths.cache={cache}", *LONG, "-m", "launcher=joblib"]
    first = forked.start(command, tmp_path, first=lambda: os.environ.pop("WANDB_SERVICE", None))
    workers = ["popen_loky"] * 3 + ["wandb-core"]  # a worker of the loader is a copy of one of joblib

    def at_work():
        ours = {each: command for each, command in below(first).items() if "tracker" not in command}
        named = sorted(name for command in ours.values() for name in set(workers) if name in command)
        trained = list(tmp_path.glob("runs/train/*/checkpoints/last.ckpt"))
        return below(first) if trained and named == sorted(workers) else None

    try:
        others = wait_for(at_work)
    finally:
        os.kill(first, signal.SIGKILL)
        forked.status(first)
    assert gone(others, SOON) == []


@pytest.mark.slow
def test_processes_of_lightning_end_with_the_first(forked, small, cache, tmp_path):
    """Killed when the second has just begun: it would wait half an hour for the first."""
    words = ["train", *small, f"paths.cache={cache}", "trainer=ddp_cpu", "eval.start=false", "eval.teacher=false"]
    first = forked.start(words, tmp_path, first=forked.as_program)
    others = wait_for(lambda: below(first))
    os.kill(first, signal.SIGKILL)
    forked.status(first)
    assert gone(others, SOON) == []
