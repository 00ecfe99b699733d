"""What makes a step fast changes nothing of it, and no step waits for the device."""

import csv

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from limbeck.backbones import bags, sub_batches
from limbeck.students import cross_encoder
from limbeck.training.optim import AdamW
from limbeck.types import Tokens


def curve(folder):
    (path,) = folder.glob("*/metrics/version_0/metrics.csv")
    with path.open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


@pytest.mark.parametrize("student", ["dense", "cross_encoder"])
def test_eight_steps_are_those_of_the_plain_path(limbeck, tmp_path, monkeypatch, student):
    words = [f"student={student}", "loss=ckl", "trainer.validate_every=0", "eval.start=false"]
    words += ["eval.teacher=false", "backbone.dropout=0", "backbone.width=32", "optim.lr=1e-3", "trainer.log_every=1"]
    status, _, err = limbeck("train", *words, "name=fast")
    assert status == 0, err
    calls = []

    def padded(model, tokens: Tokens):
        calls.append(len(tokens))
        return model.base_model(**sub_batches.inputs(model, tokens)).last_hidden_state

    configure = AdamW.configure
    monkeypatch.setattr(bags, "states", padded)
    monkeypatch.setattr(cross_encoder, "states", padded)
    monkeypatch.setattr(AdamW, "configure", lambda *given, **_: configure(*given, fused=False))
    status, _, err = limbeck("train", *words, "name=plain")
    assert status == 0, err
    assert len(calls) >= 8
    fast, plain = curve(tmp_path / "runs" / "fast"), curve(tmp_path / "runs" / "plain")
    assert len(fast) == len(plain) == 8
    assert fast == pytest.approx(plain, abs=1e-5)
    assert len(set(plain)) == 8


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device: numbers that are read from tensors."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.seen.append(1)
        return function(*args, **(kwargs or {}))


def test_a_step_reads_no_number_from_the_device(limbeck, monkeypatch):
    """Between two steps that are logged; of the forward passes of all students and losses see test_waiting.py."""
    from limbeck.training.guards import Nonfinite
    from limbeck.training.module import Distillation

    found = []
    step, after = Distillation.training_step, Distillation.optimizer_step

    def watched(method):
        def call(self, *given, **named):
            with Waits() as waits:
                result = method(self, *given, **named)
            if self.global_step % 5 not in (0, 4):
                found.append(len(waits.seen))
            return result

        return call

    def guarded(self, trainer, *given):
        with Waits() as waits:
            look(self, trainer, *given)
        if trainer.global_step % 5:
            found.append(len(waits.seen))

    look = Nonfinite.on_train_batch_end
    monkeypatch.setattr(Nonfinite, "on_train_batch_end", guarded)
    monkeypatch.setattr(Distillation, "training_step", watched(step))
    monkeypatch.setattr(Distillation, "optimizer_step", watched(after))
    words = ["loss=[ckl,margin_mse]", "trainer.validate_every=0", "trainer.checkpoint_every=100"]
    words += ["eval.start=false", "eval.teacher=false", "trainer.log_every=5"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert found
    assert set(found) == {0}
