"""FLOPS and L1 by loops, their two sides, and the warm-up."""

import pytest
import torch
from loss_worlds import batch_of, made, output_of, world

from limbeck.losses.flops import flops
from limbeck.losses.l1 import l1


def by_loops(name, embeddings):
    rows, width = embeddings.shape
    total = 0.0
    for v in range(width):
        mean = sum(abs(embeddings[n, v].item()) for n in range(rows)) / rows
        total += mean**2 if name == "flops" else mean
    return total


FUNCTIONS = {"flops": flops, "l1": l1}
both = pytest.mark.parametrize("name", ["flops", "l1"])


@both
def test_equals_the_loops(name):
    embeddings = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert FUNCTIONS[name](embeddings).item() == pytest.approx(by_loops(name, embeddings))
    assert torch.autograd.gradcheck(FUNCTIONS[name], embeddings.requires_grad_())
    assert FUNCTIONS[name](embeddings.bfloat16()).dtype == torch.float32


@both
def test_two_sides_and_warm_up(name):
    data = world()
    output, batch = output_of(data), batch_of(data)
    queries, documents = by_loops(name, output.queries), by_loops(name, output.documents)
    term = made(name, query_weight=0.3, document_weight=0.7, warmup_steps=4)
    for step, ramp in ((0, 1 / 16), (1, 1 / 4), (3, 1.0), (4, 1.0), (1000, 1.0), (1, 1 / 4)):
        term.at(step)
        assert term(output, batch).item() == pytest.approx(ramp * (0.3 * queries + 0.7 * documents))
    assert made(name)(output, batch).item() == pytest.approx(queries + documents)


@both
def test_scheduled_sides_are_used_beside_the_warm_up(name):
    data = world()
    output, batch = output_of(data), batch_of(data)
    term = made(name, warmup_steps=2, schedules={"query_weight": {"kind": "step", "values": [1, 0], "at": [1]}})
    term.at(1)
    assert term(output, batch).item() == pytest.approx(by_loops(name, output.documents))


@both
def test_several_vectors_a_text_are_refused(name):
    with pytest.raises(ValueError, match=r"^embeddings must be"):
        FUNCTIONS[name](torch.zeros(2, 3, 4))


@both
def test_gather_in_one_process_changes_nothing(name):
    embeddings = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FUNCTIONS[name](embeddings, gather=True), FUNCTIONS[name](embeddings))
