"""Trainings that are told to end, or run out of disk or memory: saved, told, and gone on with."""

import resource
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limbeck.training.checkpoints import read

LONG = ["eval.start=false", "eval.teacher=false", "trainer.steps=16", "trainer.validate_every=4", "loss=ckl"]
LONG += ["trainer.checkpoint_every=1000", "trainer.accumulate=2", "trainer.log_every=8"]


@pytest.fixture
def words(small, cache):
    return ["train", *small, f"paths.cache={cache}", *LONG]


def run_of(folder, name="train"):
    (run,) = (folder / name).iterdir()
    return run


@pytest.mark.slow
def test_signals_save_and_end_and_the_same_command_ends_with_the_same_bits(forked, limbeck, tmp_path, words):
    status, _, err = limbeck("train", *LONG, "paths.runs=whole")
    assert status == 0, err
    steps = []
    for number, batch in ((signal.SIGTERM, 4), (signal.SIGUSR2, 15), (signal.SIGINT, 25)):
        # Amid an update, right before a validation, and before the last update but two.
        status, out = forked.run(words, tmp_path, kill=[("forward", batch, number)])
        assert status == 128 + number, out
        steps.append(read(run_of(tmp_path / "runs") / "checkpoints" / "last.ckpt")["global_step"])
        assert f"{number.name}: the state after step {steps[-1]} is saved in " in out
        assert "run the same command again to resume" in out
        assert "Traceback" not in out
    assert steps == [3, 9, 13]  # a validation is due after step 8, and is made before
    status, _, err = limbeck("train", *LONG)
    assert status == 0, err
    ours, theirs = (load_file(run_of(tmp_path / name) / "model" / "model.safetensors") for name in ("runs", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_handler_of_somebody_else_is_called_once_the_state_is_saved(forked, limbeck, tmp_path, words):
    """As submitit's, which queues the job again; its handler of SIGTERM returns, and the training goes on."""
    seen = tmp_path / "seen"

    def handlers():
        def requeue(number, frame):
            state = read(run_of(tmp_path / "runs") / "checkpoints" / "last.ckpt")
            with seen.open("a") as file:
                file.write(f"{number} {state['global_step']}\n")
            if number == signal.SIGUSR2:
                raise SystemExit(77)

        signal.signal(signal.SIGUSR2, requeue)
        signal.signal(signal.SIGTERM, requeue)

    kill = [("forward", 4, signal.SIGTERM), ("forward", 18, signal.SIGUSR2)]
    status, out = forked.run(words, tmp_path, kill=kill, first=handlers)
    assert status == 77, out
    assert seen.read_text() == f"{signal.SIGTERM} 3\n{signal.SIGUSR2} 10\n"


@pytest.fixture
def little_disk(tmp_path):
    """A disk of 800 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_told_and_leaves_the_last_state_whole(limbeck, tmp_path, little_disk):
    words = [
        *LONG,
        "trainer.steps=6",
        "trainer.checkpoint_every=2",
        "trainer.validate_every=2",
        f"paths.runs={little_disk}",
    ]
    status, _, err = limbeck("train", *words)
    assert status == 2, err
    run = run_of(little_disk)
    assert f"no space is left to write to {run}" in err
    assert "run the same command again" in err
    kept = {path.name: read(path)["global_step"] for path in (run / "checkpoints").glob("*.ckpt")}
    assert kept == {"last.ckpt": 2, "best.ckpt": 2}
    assert not list((run / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_told_too(forked, limbeck, tmp_path, words):
    words = [*words, "trainer.steps=6", "trainer.checkpoint_every=2", "backbone.width=64"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))  # noqa: E731
    status, out = forked.run(words, tmp_path, first=limit)
    assert status == 2, out
    assert "no space is left to write to runs/train" in out
    status, out = forked.run(words, tmp_path)
    assert status == 0, out


def test_memory_at_its_end_is_told_with_the_sizes_to_lower(forked, limbeck, tmp_path, words):

    def limit():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)

    big = ["student=cross_encoder", "sampler.batch_size=60", "sampler.negatives=100"]
    big += ["backbone.width=512", "backbone.heads=8"]  # pairs are read apart: 6,000 of them
    status, out = forked.run([*words, *big], tmp_path, first=limit)
    assert status == 2, out
    assert "out of memory while training: " in out
    assert "sampler.batch_size (now 60), sampler.negatives (now 100), student.document_length (now 128)" in out
    assert "backbone.gradient_checkpointing=true" in out
    assert "Traceback" not in out
