"""The diagnostics of a batch, counted by hand and by loops; the gradient is that of a mean over four queries."""

import math

import pytest
import torch
from loss_worlds import call, function, world

from limbeck.losses.diagnostics import diagnostics
from limbeck.losses.on_scores import terms


def measured(teacher=True, depth=10):
    data = world()
    data["student"].requires_grad_()
    total = call("ckl", data, gamma=2.0).mean()
    (gradient,) = torch.autograd.grad(total, data["student"])
    gradient = gradient + (~data["mask"]) * 5.0  # garbage under padding
    data["student"].requires_grad_(False)
    found = diagnostics(
        data["student"], gradient, data["teacher"] if teacher else None, data["labels"], data["mask"], depth=depth
    )
    return data, gradient, found


def rows(data):
    for b in range(4):
        listed = data["mask"][b].nonzero().flatten().tolist()
        by_student = sorted(listed, key=lambda i: -data["student"][b, i].item())
        by_teacher = sorted(listed, key=lambda i: -data["teacher"][b, i].item())
        yield b, listed, by_student, by_teacher


def test_equals_the_loops():
    data, gradient, found = measured(depth=4)
    sums, at_rank = {True: 0.0, False: 0.0}, {True: [[] for _ in range(7)], False: [[] for _ in range(7)]}
    above = []
    for b, listed, by_student, by_teacher in rows(data):
        for i in listed:
            is_positive = data["labels"][b, i].item() > 0
            sums[is_positive] += abs(gradient[b, i].item())
            at_rank[is_positive][by_student.index(i)].append(4 * abs(gradient[b, i].item()))
        best = next((i for i in by_student if data["labels"][b, i] > 0), None)
        if best is not None:
            above.append(by_student.index(best) < by_teacher.index(best))
    assert found["positive_contribution"].item() == pytest.approx(sums[True])
    assert found["negative_contribution"].item() == pytest.approx(sums[False])
    assert found["negative_ratio"].item() == pytest.approx(sums[False] / sums[True])
    for side, key in ((True, "positive"), (False, "negative")):
        means = [sum(values) / len(values) if values else 0.0 for values in at_rank[side][:4]]
        assert found[f"{key}_by_rank"].tolist() == pytest.approx(means)
        assert found[f"{key}_count_by_rank"].tolist() == [len(values) for values in at_rank[side][:4]]
    assert found["above_teacher"].item() == pytest.approx(sum(above) / len(above))
    torch.testing.assert_close(found["kl_to_teacher"], call("kl", data).mean())


def test_terms_of_positives_and_negatives_by_hand():
    half = torch.zeros(2, 3)
    teacher = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]).log()
    labels, mask = torch.tensor([[1.0, 0, 0], [1, 0, 0]]), torch.tensor([[True, True, False], [True, True, True]])
    found = diagnostics(half, half, teacher, labels, mask, terms=terms(function("kl"))(half, teacher, labels, mask))
    # Two candidates: p = (2/3, 1/3), q = 1/2. Three: p = (1/4, 1/2, 1/4), q = 1/3.
    of_positives = 2 / 3 * math.log(4 / 3), 1 / 4 * math.log(4 / 3)
    of_negatives = 1 / 3 * math.log(3 / 2), 1 / 2 * math.log(3 / 2) + 1 / 4 * math.log(4 / 3)
    assert found["positive_terms"].item() == pytest.approx(sum(of_positives) / 2)
    assert found["negative_terms"].item() == pytest.approx(sum(of_negatives) / 2)
    assert found["terms_ratio"].item() == pytest.approx(sum(of_negatives) / sum(of_positives))


def test_above_the_teacher_by_hand():
    teacher = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    student = torch.tensor([[1.0, 3.0, 2.0], [3.0, 2.0, 1.0], [9.0, 1.0, 2.0]])
    labels = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 0]])  # better than the teacher, equal, no positive
    found = diagnostics(student, torch.zeros(3, 3), teacher, labels, torch.ones(3, 3, dtype=torch.bool))
    assert found["above_teacher"].item() == pytest.approx(1 / 2)
    assert found["negative_ratio"].item() == 0


def test_without_teacher():
    _, _, found = measured(teacher=False)
    assert "kl_to_teacher" not in found
    assert "above_teacher" not in found
    assert found["positive_by_rank"].shape == (10,)
    assert all(value.isfinite().all() for value in found.values())


def test_nothing_asks_for_a_gradient():
    _, _, found = measured()
    assert not any(value.requires_grad for value in found.values())
