"""The greatest logits are those of all logits, with the same gradients, in whatever chunks."""

import pytest
import torch

from limbeck.students.vocabulary import max_logits


def case(dtype=torch.float64, rows=5, tokens=7, width=4, words=11):
    draw = torch.Generator().manual_seed(3)
    states = torch.randn(rows, tokens, width, generator=draw, dtype=dtype)
    weight = torch.randn(words, width, generator=draw, dtype=dtype)
    bias = torch.randn(words, generator=draw, dtype=dtype)
    lengths = torch.randint(1, tokens + 1, (rows,), generator=draw)
    mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
    return states, mask, weight, bias


def plainly(states, mask, weight, bias):
    logits = states @ weight.T + bias
    return logits.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("chunk", [1, 200, 10**9])
def test_values_and_gradients_are_those_of_all_logits(chunk, known):
    states, mask, weight, bias = case()
    upstream = torch.randn(5, 11, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    upstream[:, ::3] = 0  # as the ReLU leaves it
    lengths = mask.sum(1).tolist() if known else None
    results = []
    for function in (plainly, lambda *given: max_logits(*given, lengths=lengths, chunk=chunk)):
        leaves = [each.clone().requires_grad_() for each in (states, weight, bias)]
        found = function(leaves[0], mask, leaves[1], leaves[2])
        results.append([found.detach(), *torch.autograd.grad(found, leaves, upstream)])
    for ours, plain in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, plain)


def test_values_are_the_same_without_gradients():
    states, mask, weight, bias = case(torch.float32, rows=40)
    weight.requires_grad_()
    with torch.no_grad():
        found = max_logits(states, mask, weight, bias)
    assert not found.requires_grad
    torch.testing.assert_close(found, max_logits(states, mask, weight, bias).detach(), rtol=0, atol=0)


def test_the_gradient_of_finite_differences():
    states, mask, weight, bias = case(rows=2, tokens=3, words=4)
    given = [each.requires_grad_() for each in (states, weight, bias)]
    assert torch.autograd.gradcheck(lambda s, w, b: max_logits(s, mask, w, b), given)


def test_padding_gets_no_gradient():
    states, mask, weight, _ = case()
    states.requires_grad_()
    max_logits(states, mask, weight, None).sum().backward()
    assert not states.grad[mask == 0].any()
    assert states.grad[:, 0].any()


def test_no_gradient_at_all_is_no_error():
    states, mask, weight, bias = case()
    states.requires_grad_()
    torch.relu(max_logits(states, mask, weight, bias) - 1e9).sum().backward()
    assert not states.grad.any()


def test_under_autocast_the_result_is_float32_and_near():
    states, mask, weight, bias = case(torch.float32)
    states.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = max_logits(states, mask, weight, bias)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plainly(states, mask, weight, bias), atol=0.1, rtol=0.02)
    found.sum().backward()
    assert states.grad.dtype == torch.float32
