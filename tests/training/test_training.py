import math

import pytest
import torch
from torch import nn

from limbeck.config import ConfigError
from limbeck.losses.ckl import ckl
from limbeck.losses.info_nce import InfoNCE
from limbeck.losses.kl import kl
from limbeck.losses.margin_mse import margin_mse
from limbeck.losses.term import Term
from limbeck.training.checkpoints import AtomicCheckpoints, load_student
from limbeck.training.objective import Objective
from limbeck.training.optim import AdamW
from limbeck.training.trainer import Training
from limbeck.types import Batch, StudentOutput, Tokens


def batch(teacher=True):
    generator = torch.Generator().manual_seed(0)
    tokens = Tokens(torch.ones(6, 3, dtype=torch.long), torch.ones(6, 3, dtype=torch.long))
    return Batch(
        queries=tokens,
        documents=tokens,
        index=torch.arange(6).reshape(2, 3),
        mask=torch.tensor([[True, True, True], [True, True, False]]),
        labels=torch.tensor([[1.0, 0, 0], [1, 0, 0]]),
        teacher_scores=torch.randn(2, 3, generator=generator) if teacher else None,
        ranks=torch.tensor([[3, 1, 2], [1, 5, 1]]),
    ), StudentOutput(torch.randn(2, 3, generator=generator, requires_grad=True))


def test_the_objective_is_the_weighted_sum_and_tells_each_term():
    data, output = batch()
    total, values = Objective({"kl": Term(kl, weight=2.0), "info_nce": InfoNCE(weight=0.1)})(output, data)
    assert total.item() == pytest.approx(2 * values["kl"].item() + 0.1 * values["info_nce"].item())
    expected = kl(output.scores, data.teacher_scores, data.labels, data.mask).mean()
    assert values["kl_to_teacher"].item() == pytest.approx(expected.item())
    assert not values["kl"].requires_grad


def test_the_true_kl_is_measured_whatever_the_loss():
    data, output = batch()
    _, values = Objective({"kl": Term(kl, teacher_temperature=3.0)})(output, data)
    assert values["kl_to_teacher"] != values["kl"]
    data, output = batch(teacher=False)
    _, values = Objective({"info_nce": InfoNCE()})(output, data)
    assert set(values) == {"info_nce"}


def test_missing_fields_are_an_error_before_the_first_step():
    with pytest.raises(ConfigError, match=r"loss\.ckl needs teacher_scores.*choose a teacher"):
        Objective({"ckl": Term(ckl)}).check({"labels", "ranks"})
    with pytest.raises(ConfigError, match=r"loss\.ckl needs ranks"):
        Objective({"ckl": Term(ckl)}).check({"labels", "teacher_scores"})
    with pytest.raises(ConfigError, match="loss is empty"):
        Objective({})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_learning_rate(schedule):
    factor = AdamW(lr=1.0, warmup=0.2, schedule=schedule).factor(50)
    values = [factor(step) for step in range(50)]
    assert values[0] == pytest.approx(1 / 11)
    assert values[9] == pytest.approx(10 / 11)
    assert values[10] == pytest.approx(1.0)
    middle = {"linear": 0.5, "cosine": 0.5, "constant": 1.0}[schedule]
    assert values[30] == pytest.approx(middle)
    last = {"linear": 1 / 40, "cosine": 0.5 * (1 - math.cos(math.pi / 40)), "constant": 1.0}[schedule]
    assert values[49] == pytest.approx(last)
    assert AdamW(lr=1.0, warmup=7).factor(50)(6) == pytest.approx(7 / 8)


def test_biases_and_norms_do_not_decay():
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    groups = AdamW(weight_decay=0.3).configure(module, 10)["optimizer"].param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.3), (3, 0.0)]


def test_checkpoints_are_whole_or_absent(tmp_path):
    path = tmp_path / "last.ckpt"
    student = nn.Linear(2, 2)
    state = {"state_dict": {f"student.{k}": v for k, v in student.state_dict().items()}, "global_step": 7}
    AtomicCheckpoints().save_checkpoint(state, path)
    other = nn.Linear(2, 2)
    assert load_student(path, other) == 7
    torch.testing.assert_close(other.weight, student.weight)

    class Unwilling:
        def __reduce__(self):
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        AtomicCheckpoints().save_checkpoint({"x": Unwilling()}, path)
    assert load_student(path, other) == 7


def test_margin_mse_is_finite_where_all_ties():
    zero = torch.zeros(1, 3, requires_grad=True)
    value = margin_mse(zero, torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]]), torch.ones(1, 3, dtype=torch.bool)).sum()
    value.backward()
    assert value == 0
    assert torch.isfinite(zero.grad).all()


def test_steps_follow_from_epochs():
    assert Training(epochs=2.0, accumulate=2).steps(100, 10) == 10
    assert Training(epochs=0.01).steps(100, 10) == 1
    assert Training(steps=7, epochs=2.0).steps(100, 10) == 7
    assert Training(epochs=1.0, devices=2).steps(100, 10) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be >= 1"),
        ({"epochs": 0.0}, "epochs must be > 0"),
        ({"precision": "fp8"}, "precision must be one of"),
        ({"clip": -1.0}, "clip must be >= 0"),
        ({"accumulate": 0}, "accumulate must be >= 1"),
        ({"strategy": "fsdp"}, "strategy=fsdp shards the weights, .* choose ddp"),
        ({"strategy": "deepspeed_stage_2"}, "strategy=deepspeed_stage_2 shards the weights"),
        ({"strategy": "ddp_spawn"}, "strategy=ddp_spawn copies this process, .* choose ddp"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Training(**options)
