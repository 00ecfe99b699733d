"""What the losses read is found by asking them."""

import pytest
from torch import Tensor

from limbeck.config import build, entries
from limbeck.inspection.losses import LossView, views
from limbeck.losses.base import Loss
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.term import Term

SOFTMAX = {"kl", "ckl", "bkl", "focal_kl", "kl_ll", "js", "list_net", "projected_kl", "reverse_kl"}
RAW = {"mse", "margin_mse", "bce"}
ORDER = {"ranknet", "rank_mse", "adr_mse", "cl_drd"}
NOTHING = {"info_nce", "approx_ndcg", "lambda_loss", "hinge", "flops", "l1", "embedding_mse", "embedding_cosine"}
LOSSES = sorted(name for kind, name in entries() if kind == "loss")


def view(name, **options):
    (found,) = views([(name, build({"_target_": entries()["loss", name].target, **options}, key=name))])
    return found


def test_every_loss_is_told_apart():
    assert {*LOSSES} == SOFTMAX | RAW | ORDER | NOTHING
    for name in LOSSES:
        expected = LossView(
            name,
            uses_scores=name not in NOTHING,
            teacher_temperature=1.0 if name in SOFTMAX else None,
            raw_differences=name in RAW,
        )
        assert view(name) == expected
        assert expected.uses_values == (name in SOFTMAX | RAW)


@pytest.mark.parametrize("temperature", [1e-3, 0.3, 1e4])
@pytest.mark.parametrize("name", sorted(SOFTMAX))
def test_the_temperature_is_read_at_any_scale(name, temperature):
    assert view(name, teacher_temperature=temperature).teacher_temperature == temperature


def test_a_softmax_over_labels_reads_no_scores():
    assert not view("list_net", target="labels").uses_scores
    assert not view("bce", target="labels").uses_scores


def test_a_loss_of_the_users_own_is_asked_too():
    @on_scores
    def mine(student: Tensor, teacher: Tensor, mask: Tensor, *, teacher_temperature: Positive = 1.0) -> Tensor:
        return (student - (teacher / teacher_temperature).log_softmax(-1)).square().sum(-1)

    class Plain(Loss):
        """Reads the scores as they are, and has an option of the name."""

        needs = ("teacher_scores",)
        teacher_temperature = 2.0

        def per_query(self, output, batch):
            return (output.scores - batch.teacher_scores).abs().mean(-1)

    mine, plain = views([("mine", Term(mine, teacher_temperature=3.0)), ("plain", Plain())])
    assert mine == LossView("mine", uses_scores=True, teacher_temperature=3.0)
    assert plain == LossView("plain", uses_scores=True, raw_differences=True)
