"""Gradient caching: the values and gradients of the whole batch, with the states of one chunk in memory."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint, get_device_states
from transformers import BertConfig, BertForMaskedLM, BertModel

from limbeck.backbones import packing
from limbeck.backbones.chunks import chunks_of, in_chunks
from limbeck.losses.flops import FLOPS
from limbeck.losses.info_nce import InfoNCE
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
    kept = {}

    def keep(value):
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    data = batch()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), chunks_of(chunk):
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
    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", lambda function, *given, **_: function(*given))
    plain, wanted, _ = trained("dense", 3, dropout=0.3)
    assert value == plain
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-7, rtol=1e-5)
    assert trained("dense", 3, dropout=0.0)[0] != value


def test_a_chunk_that_holds_all_is_no_chunk():
    assert trained("dense", 100)[2] == trained("dense", None)[2]


# Dropout on a device: torch.utils.checkpoint saves the generators of the devices that it finds among its arguments.


class OnDevice(torch.Tensor):
    """A tensor that says it lies on the second GPU."""

    @property
    def device(self):
        return torch.device("cuda", 1)

    def get_device(self):
        return 1


def generators_saved(monkeypatch, arguments):
    """Return the devices whose generators torch would save for a checkpoint, if all tensors lay on the second GPU."""
    module = SimpleNamespace(device=lambda _: nullcontext(), get_rng_state=lambda: torch.zeros(1))
    monkeypatch.setattr("torch.utils.checkpoint._get_device_module", lambda _: module)
    there = tree_map_only(torch.Tensor, lambda value: value.as_subclass(OnDevice), arguments)
    devices, states = get_device_states(*there)
    assert len(devices) == len(states)
    return set(devices)


def test_a_dataclass_hides_its_tensors(monkeypatch):
    """What the tests below guard against."""
    assert generators_saved(monkeypatch, (tokens(2, 4, 0), "query")) == set()
    assert generators_saved(monkeypatch, (tokens(2, 4, 0).input_ids, "query")) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_saves_the_generator_of_its_device(monkeypatch, kind):
    given = []

    def noted(function, *arguments, **options):
        given.append(arguments)
        return checkpoint(function, *arguments, **options)

    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", noted)
    student = KINDS[kind](load(0.3)).train()
    with chunks_of(3):
        value = objective(student(batch()), batch(), kind)
    value.backward()
    assert len(given) == 3 + 11
    for arguments in given:
        assert generators_saved(monkeypatch, arguments) == {1}


def test_optional_tensors_and_lengths_reach_the_encoder():
    """Segment numbers, chosen tokens and lengths are those of the chunk."""
    seen = []
    texts = tokens(7, 6, 1)
    texts.token_type_ids = torch.arange(42).view(7, 6)
    texts.kept = texts.attention_mask.bool()

    def encode(some, role):
        seen.append((some, role))
        return some.input_ids.float() + torch.zeros(1, requires_grad=True)

    with chunks_of(3):
        in_chunks(encode, texts, "document")
    assert [len(some) for some, _ in seen] == [3, 3, 1]
    assert {role for _, role in seen} == {"document"}
    assert [length for some, _ in seen for length in some.lengths] == texts.lengths
    for name in ("input_ids", "attention_mask", "token_type_ids", "kept"):
        assert torch.equal(torch.cat([getattr(some, name) for some, _ in seen]), getattr(texts, name)), name


def test_recomputation_runs_under_the_same_autocast(monkeypatch):
    """The gradient of chunks in bfloat16 is that of the same chunks without a second forward pass."""

    def gradients():
        student = Dense(load(0.0)).train()
        with chunks_of(3), torch.autocast("cpu", dtype=torch.bfloat16):
            value = objective(student(batch()), batch(), "dense")
        value.backward()  # outside of autocast, as Lightning calls it
        return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])

    found = gradients()
    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", lambda function, *given, **_: function(*given))
    assert torch.equal(found, gradients())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_on_a_gpu_is_the_same_in_both_passes(monkeypatch, kind):
    def gradients():
        student = KINDS[kind](load(0.3)).train().cuda()
        data = batch().to("cuda")
        torch.manual_seed(5)
        with chunks_of(3):
            value = objective(student(data), data, kind)
        value.backward()
        return {name: p.grad.cpu() for name, p in student.named_parameters() if p.grad is not None}

    found = gradients()
    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", lambda function, *given, **_: function(*given))
    for name, wanted in gradients().items():
        torch.testing.assert_close(found[name], wanted, atol=1e-5, rtol=1e-4)


def test_a_training_encodes_so_many_texts_at_once(limbeck, monkeypatch):
    sizes = []

    def noted(function, *arguments, **options):
        sizes.append(len(arguments[0]))
        return checkpoint(function, *arguments, **options)

    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", noted)
    words = ["loss=kl_in_batch", "trainer.chunk=2", "trainer.steps=1", "trainer.validate_every=0"]
    status, _, err = limbeck("train", *words, "eval.start=false", "eval.teacher=false")
    assert status == 0, err
    assert max(sizes) == 2
