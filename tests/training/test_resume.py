"""Killed and given again, a training ends with the bits of one that nobody disturbed."""

import signal

import pytest
import torch

LONG = [
    "loss=ckl",
    "sampler.refresh_ranks=3",
    "trainer.steps=18",
    "trainer.accumulate=2",
    "trainer.checkpoint_every=4",
    "trainer.validate_every=5",
    "trainer.log_every=6",
    "eval.start=false",
    "eval.teacher=false",
]
"""36 batches, 18 updates, 4 regular checkpoints, 3 validations, 6 renewals."""

CALLBACKS = ["callbacks=[ema,early_stopping]", "callbacks.ema.decay=0.9", "callbacks.early_stopping.patience=100"]
"""Averages are for one process."""


KEPT = (
    "state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "callbacks",
)  # fmt: skip


def same(ours, theirs, where=""):
    """Compare what checkpoints hold, bit by bit."""
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            if (
                not str(key).endswith(("path", "models")) and key != "current_score"
            ):  # Lightning does not restore that one
                same(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, f"{where}/{number}")
    else:
        assert ours == theirs, where


def parts(run):
    """Return what has to agree of a finished run."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    kept = {name: state[name] for name in KEPT if name in state}  # some are of averaged weights alone
    return kept | {"global_step": state["global_step"]}


def only(folder):
    (run,) = (folder / "train").iterdir()
    return run


def check(folder, whole):
    ours, theirs = only(folder), only(whole)
    same(parts(ours), parts(theirs))
    for name in ("model/model.safetensors", "runs/test.student.trec"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    best = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True) for run in (ours, theirs)]
    assert best[0]["global_step"] == best[1]["global_step"]
    same(best[0]["state_dict"], best[1]["state_dict"])


def test_killed_at_ten_random_points(forked, limbeck, tmp_path, small, cache):
    ended, _, err = limbeck("train", *LONG, *CALLBACKS, "paths.runs=whole")
    assert ended == 0, err
    words = ["train", *small, f"paths.cache={cache}", *LONG, *CALLBACKS]
    for kill in forked.kills(10, 33, seed=5):
        ended, out = forked.run(words, tmp_path, kill=[kill])
        assert ended == -signal.SIGKILL, f"{kill}: {out}"
    ended, out = forked.run(words, tmp_path)
    assert ended == 0, out
    assert "going on from" in out
    check(tmp_path / "runs", tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_killed_and_told_to_end(forked, limbeck, tmp_path, small, cache):
    """On two nodes: the one that writes is killed meanwhile, then the other is told to end, and both save and end."""
    own = [*LONG, "trainer=ddp_cpu", "sampler.batch_size=2", "trainer.devices=1", "trainer.num_nodes=2"]
    own += ["trainer.steps=8", "trainer.checkpoint_every=2"]
    words = ["train", *small, f"paths.cache={cache}", *own]

    def both(*more, **kills):
        return forked.both([*words, *more], tmp_path, launcher="torchrun, two nodes", **kills)

    assert both("paths.runs=whole") == (0, 0), (tmp_path / "output").read_text()
    assert both(first=[("writing", 7, signal.SIGKILL)])[0] == -signal.SIGKILL
    assert both(second=[("forward", 11, signal.SIGTERM)]) == (143, 143), (tmp_path / "output").read_text()
    assert "SIGTERM: the state after step" in (tmp_path / "output").read_text()
    assert both() == (0, 0), (tmp_path / "output").read_text()
    check(tmp_path / "runs", tmp_path / "whole")
