"""Losses on lists of any shape and any numbers; tests/losses/test_laws.py holds the laws on lists that are chosen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_worlds import ON_SCORES, call

SCORES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e4, -1e4, 9999.5, 1e-30, -0.0]),
    st.floats(-1e4, 1e4, width=32, allow_nan=False),
)


@st.composite
def batches(draw):
    """Lists of one to six candidates; ties, one candidate left, no positive, and none at all come often."""
    queries, candidates = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    cells = queries * candidates
    pool = draw(st.lists(SCORES, min_size=1, max_size=cells))  # few numbers: ties

    def grid(each):
        return [draw(each) for _ in range(cells)]

    made = {
        "student": torch.tensor(grid(st.sampled_from(pool)), dtype=torch.float32),
        "teacher": torch.tensor(grid(st.sampled_from(pool)), dtype=torch.float32),
        "labels": torch.tensor(grid(st.sampled_from([0.0, 0.0, 1.0, 3.0, -1.0]))),
        "mask": torch.tensor(grid(st.sampled_from([True, True, False]))),
        "ranks": torch.tensor(grid(st.integers(1, 1000))),
    }
    if draw(st.booleans()):
        made["labels"].zero_()
    return {name: column.reshape(queries, candidates) for name, column in made.items()}


BY_PLACE = {"lambda_loss", "cl_drd"}
"""Losses that rank the candidates: of equal scores the one that is listed first stands higher."""


def tied(data):
    """Whether two candidates of a list have one score by the student or the teacher."""
    return any(
        len(row[mask].unique()) < int(mask.sum())
        for column in ("student", "teacher")
        for row, mask in zip(data[column], data["mask"], strict=True)
    )


def value_and_gradient(name, data):
    student = data["student"].clone().requires_grad_()
    values = call(name, {**data, "student": student})
    (gradient,) = torch.autograd.grad(values.sum(), student)
    return values.detach(), gradient


@pytest.mark.parametrize("name", ON_SCORES)
@given(data=batches(), seed=st.integers(0, 1000))
def test_losses(name, data, seed):
    values, gradient = value_and_gradient(name, data)
    assert values.shape == (len(data["mask"]),)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[~data["mask"]] == 0).all()
    assert (values[~data["mask"].any(-1)] == 0).all()

    order = torch.randperm(data["mask"].shape[1], generator=torch.Generator().manual_seed(seed))
    if name in BY_PLACE and tied(data):
        return
    again, moved = value_and_gradient(name, {key: column[:, order] for key, column in data.items()})
    scale = float(values.abs().max()) + 1
    torch.testing.assert_close(again, values, rtol=1e-4, atol=1e-5 * scale)
    scale = float(gradient.abs().max()) + 1
    torch.testing.assert_close(moved, gradient[:, order], rtol=1e-3, atol=1e-4 * scale)
