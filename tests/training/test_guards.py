"""What is not finite, and students that have collapsed: real trainings that go wrong."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from limbeck.config import ConfigError
from limbeck.losses.term import Term
from limbeck.training.checkpoints import read
from limbeck.training.guards import Nonfinite, _collapsed, poisoned, signs
from limbeck.types import Batch, StudentOutput, Tokens, Vectors

SHORT = [
    "loss=[kl,info_nce]",
    "eval.start=false",
    "eval.teacher=false",
    "trainer.log_every=4",
    "trainer.validate_every=0",
    "trainer.checkpoint_every=2",
]


def run_of(tmp_path, name="train"):
    (run,) = (tmp_path / "runs" / name).iterdir()
    return run


def broken(monkeypatch, step, value=float("nan")):
    """Let the term ``kl`` of one update be what it should not be."""
    seen, at, call = [], Term.at, Term.forward

    def noted(self, now):
        self.now = now
        at(self, now)

    def forward(self, output, batch):
        found = call(self, output, batch)
        if self.now != step:
            return found
        seen.append(batch.query_ids)
        return found * value

    monkeypatch.setattr(Term, "at", noted)
    monkeypatch.setattr(Term, "forward", forward)
    return seen


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_term_that_is_not_finite_stops_the_training_by_name(limbeck, tmp_path, monkeypatch, value):
    seen = broken(monkeypatch, 4, value)
    status, _, err = limbeck("train", *SHORT)
    assert status == 2
    told = re.search(r"trainer.nonfinite: step 5: loss.kl is (\w+) \(queries (.*)\)\. The checkpoints", err)
    assert told, err
    assert (told[1], told[2].split(", ")) == (str(value), seen[0])
    assert "trainer.nonfinite=skip" in err
    state = read(run_of(tmp_path) / "checkpoints" / "last.ckpt")
    assert state["global_step"] == 4  # that of step 6 would hold what came after
    assert all(value.isfinite().all() for value in state["state_dict"].values())


def test_skipped_updates_are_counted_and_change_nothing(limbeck, tmp_path, monkeypatch):
    broken(monkeypatch, 0)
    words = [*SHORT, "trainer.nonfinite=skip", "optim.warmup=0", "optim.schedule=constant", "trainer.steps=1"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert re.search(r"step 1: loss.kl is nan \(queries .*\); this update is skipped", err)
    run = run_of(tmp_path)
    assert json.loads((run / "result.json").read_text())["training"]["skipped"] == 1
    state = read(run / "checkpoints" / "last.ckpt")
    moments = state["optimizer_states"][0]["state"]
    assert all((each["step"], each["exp_avg"].abs().max()) == (0, 0) for each in moments.values())


def test_a_gradient_that_is_not_finite_names_the_parameter(limbeck, monkeypatch):
    from limbeck.training.module import Distillation

    def spoiled(self):
        if self.global_step == 2:
            dict(self.named_parameters())["student.backbone.embeddings.LayerNorm.bias"].grad[3] = float("inf")

    monkeypatch.setattr(Distillation, "on_after_backward", spoiled)
    status, _, err = limbeck("train", *SHORT)
    assert status == 2
    assert (
        "step 3: the gradient of student.backbone.embeddings.LayerNorm.bias is not finite, though every term is" in err
    )
    assert re.search(r"\(queries \S+, \S+, \S+, \S+\)", err)


def test_the_count_survives_a_checkpoint():
    guard = Nonfinite("skip", 10)
    guard.load_state_dict({"skipped": 3})
    assert guard.state_dict() == {"skipped": 3}


def test_a_finite_loss_keeps_its_bits_and_another_spoils_its_gradient():
    x = torch.randn(3, requires_grad=True)
    (plain,) = torch.autograd.grad(x.exp().sum(), x)
    assert torch.equal(poisoned(x.exp().sum()), x.exp().sum())
    assert torch.equal(torch.autograd.grad(poisoned(x.exp().sum()), x)[0], plain)
    infinite = x.sum() * 0 + float("inf")
    assert torch.autograd.grad(poisoned(infinite), x)[0].isnan().all()


def test_options():
    from limbeck.training.trainer import Training

    with pytest.raises(ValueError, match=r"^nonfinite must be one of stop, skip, got 'ignore'"):
        Training(nonfinite="ignore")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["student=dense", "optim.lr=1e-9"], "constant embeddings"),
        (["student=cross_encoder", "optim.lr=1e-9"], "collapsed scores"),
        (["student=splade", "loss=[kl,flops]"], "dead SPLADE"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_collapsed_students_are_named_once(limbeck, monkeypatch, words, named):
    """Students that read nothing: their weights are made so at the start."""
    import limbeck.experiment.assemble as module

    made = module.ranker

    def flattened(*given, **options):
        student, collator = made(*given, **options)
        with torch.no_grad():
            for name, each in student.named_parameters():
                if named != "dead SPLADE" and each.ndim == 2:
                    each.zero_()
                elif name.endswith("bias"):
                    each.fill_(-1.0)
        return student, collator

    monkeypatch.setattr(module, "ranker", flattened)
    status, _, err = limbeck("train", *SHORT, "trainer.log_every=2", "trainer.steps=4", *words)
    assert status == 0, err
    assert err.count(f"{named} at step 2: ") == 1, err
    assert err.count(f"{named} at step") == 1


def test_signs():
    tokens = Tokens(torch.ones(2, 1, dtype=torch.long), torch.ones(2, 1, dtype=torch.long))
    mask = torch.tensor([[True, True, False], [True, False, False]])
    batch = Batch(None, tokens, torch.zeros(2, 3, dtype=torch.long), mask, torch.zeros(2, 3))
    student = SimpleNamespace(fields=frozenset({"embeddings"}))
    scores = torch.tensor([[2.0, 2.0, 9.0], [1.0, 5.0, 5.0]])
    found = signs(StudentOutput(scores, documents=torch.tensor([[1.0, 0], [0, 2.0]])), batch, student)
    assert {name: value.item() for name, value in found.items()} == {"spread": 0.0, "cosine": 0.0}
    assert list(_collapsed(found)) == ["collapsed scores"]
    values = torch.tensor([[[3.0, 4], [0, 0]], [[6.0, 8], [3.0, 4]]])
    several = Vectors(values, torch.tensor([[True, False], [True, True]]))
    found = signs(StudentOutput(scores + torch.tensor([0, 1.0, 0]), documents=several), batch, student)
    assert found["spread"].item() == pytest.approx(1 / 3)
    assert found["cosine"].item() == pytest.approx(1)
    assert list(_collapsed(found)) == ["constant embeddings"]
    alone = Batch(None, tokens, batch.index, mask & torch.tensor([True, False, False]), batch.labels)
    assert not _collapsed(
        signs(StudentOutput(scores), alone, SimpleNamespace(fields=frozenset()))
    )  # one candidate has no spread


def test_terms_that_are_finite_with_a_sum_that_is_not():
    guard = Nonfinite("stop", 1)
    with pytest.raises(ConfigError, match="step 1: the weighted sum of the terms is not finite"):
        _end(guard, {"terms": {"kl": torch.tensor(1.0)}, "loss": torch.tensor(float("nan"))})


def _end(guard, outputs):
    from types import SimpleNamespace

    batch = SimpleNamespace(query_ids=["q"])
    guard.on_train_batch_end(SimpleNamespace(accumulate_grad_batches=1), None, outputs, batch, 0)
