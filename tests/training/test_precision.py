"""Losses in a training of mixed precision: what they are given and give is what float32 gives, to the last bit."""

import pytest
import torch
from torch import nn

from limbeck.experiment import emulated
from limbeck.losses.approx_ndcg import approx_ndcg
from limbeck.losses.base import Loss
from limbeck.losses.cl_drd import cl_drd
from limbeck.losses.rank_mse import rank_mse
from limbeck.losses.term import Term
from limbeck.training.objective import Objective
from limbeck.types import Batch, StudentOutput, Tokens

ORDER = "loss=[rank_mse,adr_mse,approx_ndcg,lambda_loss,ranknet,cl_drd,ckl,info_nce]"


def gradient_by_scores(objective, scores, output, batch):
    """Return the values of the terms and the gradient of their sum, for these scores."""
    scores = scores.detach().clone().requires_grad_()
    total, values = objective(StudentOutput(scores, output.queries, output.documents, output.similarity), batch)
    return values, torch.autograd.grad(total, scores)[0]


@pytest.mark.parametrize("student", ["dense", "cross_encoder"])
def test_a_bf16_mixed_fit_learns_from_float32_losses(limbeck, monkeypatch, student):
    seen, forward = [], Objective.forward

    def noted(self, output, batch):
        total, values = forward(self, output, batch)
        kept = {"mixed": torch.is_autocast_enabled("cpu"), "scores": output.scores, "values": values}
        output.scores.register_hook(lambda gradient: kept.update(gradient=gradient.clone()))
        seen.append((kept, self, output, batch))
        return total, values

    more = ["loss.info_nce.in_batch=true"] if student == "dense" else []
    words = ["trainer.precision=bf16-mixed", "trainer.steps=3", "eval.start=false", "eval.teacher=false"]
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", noted)
        status, _, err = limbeck("train", f"student={student}", ORDER, *words, *more)
    assert status == 0, err
    assert len(seen) == 3
    for kept, objective, output, batch in seen:
        assert kept["mixed"]
        values, gradient = gradient_by_scores(objective, kept["scores"].float(), output, batch)
        assert {name: value.item() for name, value in kept["values"].items()} == {
            name: value.item() for name, value in values.items()
        }
        torch.testing.assert_close(kept["gradient"], gradient.to(kept["scores"].dtype), rtol=0, atol=0)


class Products(Loss):
    """A loss of somebody else's, with products of every kind that autocast makes 16 bits."""

    def per_query(self, output: StudentOutput, batch: Batch) -> torch.Tensor:
        """Return the (B,) values of the queries."""
        scores = output.scores
        found = [scores @ scores.mT, torch.einsum("bi,ci->bc", scores, scores), nn.functional.linear(scores, scores)]
        assert all(each.dtype == torch.float32 for each in found)
        return sum(found).sum(-1)  # pyright: ignore[reportAttributeAccessIssue, reportReturnType]


@pytest.mark.parametrize("loss", [None, rank_mse, approx_ndcg, cl_drd])
def test_the_objective_is_outside_of_autocast(loss):
    draw = torch.Generator().manual_seed(0)
    tokens = Tokens(torch.ones(96, 3, dtype=torch.long), torch.ones(96, 3, dtype=torch.long))
    batch = Batch(
        queries=tokens,
        documents=tokens,
        index=torch.arange(96).reshape(2, 48),
        mask=torch.ones(2, 48, dtype=torch.bool),
        labels=torch.randint(0, 3, (2, 48), generator=draw).float(),
        teacher_scores=torch.randn(2, 48, generator=draw),
    )
    output = StudentOutput(torch.randn(2, 48, generator=draw))
    objective = Objective({"term": Products() if loss is None else Term(loss)})
    expected = gradient_by_scores(objective, output.scores, output, batch)
    scores = output.scores.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, values = objective(StudentOutput(scores), batch)
        assert torch.is_autocast_enabled("cpu")
    torch.testing.assert_close((values, torch.autograd.grad(total, scores)[0]), expected, rtol=0, atol=0)


def test_emulated_bfloat16_is_said_once_with_the_keys_that_ask_for_it(monkeypatch, caplog):
    config = {"bf16": True, "eval": {"bf16": False}, "teacher": {"bf16": True}, "trainer": {"precision": "bf16-mixed"}}
    monkeypatch.setattr(emulated, "bf16_processor", lambda: True)
    emulated.warn(config, torch.device("cpu"))
    monkeypatch.setattr(emulated, "bf16_processor", lambda: False)
    emulated.warn(config, torch.device("cuda"))
    emulated.warn({"bf16": False, "trainer": {"precision": "auto"}}, torch.device("cpu"))
    assert not caplog.records
    for _ in range(2):
        emulated.warn(config, torch.device("cpu"))
    (record,) = caplog.records
    assert record.getMessage().startswith("bf16=true, teacher.bf16=true, trainer.precision=bf16-mixed: ")
    emulated.warn({"trainer": {"precision": "16-mixed"}}, torch.device("cpu"))  # Lightning makes it bf16-mixed there
    assert caplog.records[-1].getMessage().startswith("trainer.precision=16-mixed: ")
