"""Gradient caching: the values and gradients of the whole batch, with the states of one chunk in memory."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from limbeck.losses.flops import FLOPS
from limbeck.losses.info_nce import InfoNCE
from limbeck.students import packing
from limbeck.students.colbert import ColBERT
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.types import Batch, Tokens

KINDS = {"dense": Dense, "splade": Splade, "colbert": ColBERT}


def load(dropout):
    def made(task):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        )  # fmt: skip
        model = BertForMaskedLM(config) if task == "mlm" else BertModel(config, False)
        packing.enable(model)
        return model

    return made


def tokens(count, longest, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, count)
    lengths[0] = longest
    mask = np.arange(longest) < lengths[:, None]
    ids = torch.from_numpy(rng.integers(5, 60, mask.shape) * mask)
    return Tokens(ids, torch.from_numpy(mask).long(), lengths=lengths.tolist())


def batch():
    mask = torch.ones(8, 4, dtype=torch.bool)
    labels = torch.tensor([[1.0, 0, 0, 0]] * 8)
    return Batch(tokens(8, 6, 1), tokens(32, 20, 2), torch.arange(32).view(8, 4), mask, labels)


def objective(output, data, kind):
    value = InfoNCE(in_batch=True)(output, data)
    return value + FLOPS()(output, data) if kind == "splade" else value


def trained(kind, chunk, dropout=0.0):
    """Return value, gradients by name, and the bytes that are kept from the forward pass to the backward pass."""
    student = KINDS[kind](load(dropout)).train()
    student.chunk = chunk
    kept = {}

    def keep(value):
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    data = batch()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        value = objective(student(data), data, kind)
    held = sum(kept.values())
    value.backward()
    return value.item(), {n: p.grad for n, p in student.named_parameters() if p.grad is not None}, held


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_whole_batch(kind):
    value, gradients, held = trained(kind, None)
    chunked, again, less = trained(kind, 3)
    assert chunked == pytest.approx(value, abs=1e-6)
    assert again.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-4)
    assert less < held * (0.8 if kind == "splade" else 0.4)


def test_dropout_is_the_same_in_both_passes(monkeypatch):
    value, gradients, _ = trained("dense", 3, dropout=0.3)
    monkeypatch.setattr("limbeck.students.chunks.checkpoint", lambda function, *given, **_: function(*given))
    plain, wanted, _ = trained("dense", 3, dropout=0.3)
    assert value == plain
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-7, rtol=1e-5)
    assert trained("dense", 3, dropout=0.0)[0] != value


def test_a_chunk_that_holds_all_is_no_chunk():
    assert trained("dense", 100)[2] == trained("dense", None)[2]
