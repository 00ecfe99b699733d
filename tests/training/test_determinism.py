"""The same seed, the same bits; and the same training, however it is cut into batches and processes."""

import importlib
import os
import socket

import pytest
import torch
from safetensors.torch import load_file

from limbeck.training.trainer import Training

SHORT = ["loss=[ckl,info_nce]", "sampler.refresh_ranks=3", "eval.start=false", "eval.teacher=false"]
SHORT += ["trainer.validate_every=0", "trainer.log_every=4", "trainer.steps=4"]


def weights(tmp_path, name):
    (run,) = (tmp_path / "runs" / name).iterdir()
    return load_file(run / "model" / "model.safetensors")


def test_the_same_bits_whatever_the_number_of_workers(limbeck, tmp_path):
    own = [*SHORT, "student=cross_encoder", "backbone.dropout=0.2"]
    for name, workers in (("first", 0), ("again", 0), ("two", 2)):
        status, _, err = limbeck("train", *own, f"sampler.workers={workers}", f"name={name}")
        assert status == 0, err
    first = weights(tmp_path, "first")
    for name in ("again", "two"):
        other = weights(tmp_path, name)
        assert all(torch.equal(first[key], other[key]) for key in first), name


@pytest.mark.parametrize(("student", "others"), [("dense", ["accumulated", "shared"]), ("cross_encoder", ["shared"])])
def test_batches_accumulation_and_processes_agree(forked, limbeck, tmp_path, small, cache, student, others):
    """The same four queries an update, in one batch, in two, and in two processes.

    ``eps``: the losses do not see what moves all scores of a list alike, such as the bias before a head.
    Its gradient is rounding alone, and Adam would make whole steps of it.
    """
    own = [*SHORT, f"student={student}", "optim.eps=1e-3"]
    status, _, err = limbeck("train", *own, "sampler.batch_size=4", "name=whole")
    assert status == 0, err
    if "accumulated" in others:
        status, _, err = limbeck("train", *own, "sampler.batch_size=2", "trainer.accumulate=2", "name=accumulated")
        assert status == 0, err
    words = ["train", *small, f"paths.cache={cache}", *own, "sampler.batch_size=2", "trainer=ddp_cpu", "name=shared"]
    assert forked.both(words, tmp_path) == (0, 0), (tmp_path / "output").read_text()
    whole = weights(tmp_path, "whole")
    for name in others:
        other = weights(tmp_path, name)
        worst = max((whole[key] - other[key]).abs().max().item() for key in whole)
        assert worst <= 1e-6, name


@pytest.mark.parametrize(
    ("student", "losses"),
    [
        ("dense", ["loss=[info_nce,kl]", "loss.info_nce.in_batch=true", "loss.info_nce.gather=true"]),
        ("splade", ["loss=[kl,flops,l1]", "loss.flops.gather=true", "loss.l1.gather=true"]),
    ],
)
def test_losses_over_the_batch_are_those_of_one_process(forked, limbeck, tmp_path, small, cache, student, losses):
    """Two processes with gather: the same negatives, masked alike, and each document counted once."""
    own = [*SHORT, f"student={student}", "optim.eps=1e-3", "backbone.dropout=0", *losses]
    status, _, err = limbeck("train", *own, "sampler.batch_size=16", "name=whole")
    assert status == 0, err
    words = ["train", *small, f"paths.cache={cache}", *own, "sampler.batch_size=8", "trainer=ddp_cpu", "name=shared"]
    assert forked.both(words, tmp_path) == (0, 0), (tmp_path / "output").read_text()
    whole, shared = weights(tmp_path, "whole"), weights(tmp_path, "shared")
    assert max((whole[key] - shared[key]).abs().max().item() for key in whole) <= 2e-6


def torchrun(popen):
    """Be ``torchrun``, whose workers are copies of this process."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    subprocess_handler.Popen = lambda args, **named: popen(args, **named)
    run.main()


def test_two_nodes_of_torchrun_agree_with_one_process(forked, limbeck, tmp_path, small, cache):
    """Two commands that find each other, as on two machines; one process writes, both log.

    Refreshed ranks, and negatives of the whole batch, are shared between the nodes.
    """
    importlib.import_module("torch.distributed.run")  # here once, not in each node
    own = [*SHORT, "optim.eps=1e-3", "loss.info_nce.in_batch=true", "loss.info_nce.gather=true"]
    status, _, err = limbeck("train", *own, "sampler.batch_size=4", "name=whole")
    assert status == 0, err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = ["trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2", "sampler.batch_size=2", "name=nodes"]
    words = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    words += ["--rdzv-id=one", "--local-addr=127.0.0.1", "-m", "limbeck", "train", *small, f"paths.cache={cache}"]
    words += [*own, *nodes]
    env = {"GLOO_SOCKET_IFNAME": "lo"}
    started = [
        forked.start(words, tmp_path, env=env, main=lambda: torchrun(forked.Popen), log=f"node-{node}")
        for node in range(2)
    ]
    ended = [forked.status(node) for node in started]
    said = "".join(path.read_text() for path in (tmp_path / "output", *tmp_path.glob("node-*")))
    assert ended == [0, 0], said
    whole, other = weights(tmp_path, "whole"), weights(tmp_path, "nodes")
    assert max((whole[key] - other[key]).abs().max().item() for key in whole) <= 1e-6
    (run,) = (tmp_path / "runs" / "nodes").iterdir()
    assert said.count("steps of 4 queries") == 1
    assert {path.name for path in run.glob("*.log")} == {"train.log", "train.rank-1.log"}
    assert all("training: 4 steps of 4 queries" in path.read_text() for path in run.glob("*.log"))


def test_deterministic_operations_are_chosen_and_given_up(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        Training(deterministic=True).determine()
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        Training().determine()
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("student", ["dense", "cross_encoder", "splade", "colbert"])
def test_every_student_trains_with_deterministic_operations_and_is_not_warned_of(limbeck, student):
    words = ["loss=[ckl,flops]"] if student == "splade" else []
    words += ["trainer.deterministic=true", "trainer.steps=3", "trainer.log_every=1"]
    status, _, err = limbeck("train", *SHORT, f"student={student}", *words)
    torch.use_deterministic_algorithms(False)
    assert status == 0, err
    for sign in ("collapsed", "dead", "constant"):
        assert sign not in err  # of each, test_guards.py shows that it is named
