"""MaxSim is the loop of its formula."""

import pytest
import torch

from limbeck.similarity import dot_pairs, maxsim, maxsim_pairs
from limbeck.types import Vectors


def vectors(count, length, seed, width=5):
    draw = torch.Generator().manual_seed(seed)
    mask = torch.rand(count, length, generator=draw) < 0.6  # gaps, as skipped punctuation leaves them
    mask[:, 0] = True
    values = torch.randn(count, length, width, generator=draw, dtype=torch.float64)
    return Vectors(values, mask)


def loop(queries, documents):
    table = torch.zeros(len(queries), len(documents), dtype=torch.float64)
    for b in range(len(queries)):
        for n in range(len(documents)):
            there = documents.values[n][documents.mask[n]]
            for vector in queries.values[b][queries.mask[b]]:
                table[b, n] += max((float(vector @ other) for other in there), default=0.0)
    return table


@pytest.mark.parametrize("chunk", [1, 150, 10**9, None])
@pytest.mark.parametrize("trained", [False, True])
def test_maxsim_equals_the_loop(chunk, trained):
    queries, documents = vectors(3, 4, 1), vectors(7, 6, 2)
    documents.mask[5] = False  # nothing left of it
    expected = loop(queries, documents)
    documents.values.requires_grad_(trained)
    torch.testing.assert_close(maxsim(queries, documents, chunk=chunk).detach(), expected)


def test_only_the_best_vector_and_no_padding_gets_a_gradient():
    queries, documents = vectors(1, 1, 1), vectors(4, 6, 2)
    documents.values.requires_grad_()
    maxsim(queries, documents).sum().backward()
    touched = documents.values.grad.abs().sum(-1) > 0
    assert touched.sum(1).tolist() == [1, 1, 1, 1]
    assert not touched[~documents.mask].any()


def test_float32_under_autocast_and_nothing_to_score():
    queries, documents = (Vectors(v.values.float(), v.mask) for v in (vectors(2, 3, 1), vectors(4, 6, 2)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = maxsim(queries, documents)
    torch.testing.assert_close(found.double(), loop(queries, documents), atol=1e-5, rtol=1e-5)
    assert maxsim(queries, Vectors(documents.values[:0], documents.mask[:0])).shape == (2, 0)
    without = Vectors(documents.values[:, :0], documents.mask[:, :0])  # documents without a single vector
    assert maxsim(queries, without).tolist() == [[0.0] * 4] * 2
    assert maxsim(without, documents).tolist() == [[0.0] * 4] * 4


def test_pairs_are_the_diagonal_of_the_table():
    queries, documents = vectors(6, 4, 1), vectors(6, 5, 2)
    documents.mask[3] = False
    torch.testing.assert_close(maxsim_pairs(queries, documents), loop(queries, documents).diag())
    nothing = Vectors(documents.values[:, :0], documents.mask[:, :0])
    assert maxsim_pairs(queries, nothing).tolist() == [0.0] * 6
    left, right = queries.values[:, 0].float(), documents.values[:, 0].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(dot_pairs(left, right), (left.double() @ right.double().T).diag().float())
