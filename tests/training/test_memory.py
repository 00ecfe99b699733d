"""The memory of a training, estimated before it begins, against what its layers keep."""

import re

import pytest
import torch
from transformers import BertConfig, BertModel

from limbeck.backbones import packing
from limbeck.data.sampling import ListSampler
from limbeck.students.dense import Dense
from limbeck.training import memory
from limbeck.training.memory import Needs, line
from limbeck.types import Tokens

LENGTH = 64


def student(width=96, inner=256, layers=4):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(
        vocab_size=50,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        **rates,
    )

    def load(_):
        model = BertModel(config, add_pooling_layer=False)
        packing.enable(model)
        return model

    return Dense(load, query_length=LENGTH, document_length=LENGTH).train()


def kept(made, texts, half):
    """Return the bytes that are kept of a forward pass for its gradient, without weights."""
    ids = torch.ones(texts, LENGTH, dtype=torch.long)
    given = Tokens(ids, torch.ones_like(ids), lengths=[LENGTH] * texts)
    weights = {each.untyped_storage()._cdata for each in made.parameters()}
    found = {}

    def keep(value):
        if (number := value.untyped_storage()._cdata) not in weights:
            found[number] = value
        return value

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        packing._packed(made.backbone, given)
    return sum(value.untyped_storage().nbytes() for value in found.values())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_batch_takes_about_what_its_layers_keep(precision):
    made, sampler = student(), ListSampler(batch_size=2, negatives=3)
    found = memory.needs(made, sampler, precision=precision, chunk=None)
    real = kept(made, 2 + 2 * 4, precision != "32-true")
    assert found.batch == pytest.approx(real, rel=0.25)
    weights = sum(each.numel() for each in made.parameters())
    assert found.weights == weights * (16 if precision == "32-true" else 18)


def test_what_makes_it_smaller():
    made, sampler = student(), ListSampler(batch_size=2, negatives=3)

    def batch(**more):
        return memory.needs(made, sampler, **({"precision": "32-true", "chunk": None} | more)).batch

    whole = batch()
    assert batch(chunk=2) == whole // 5  # two texts of ten
    made.backbone.gradient_checkpointing_enable()
    assert batch() < 0.5 * whole
    for parameter in made.parameters():
        parameter.requires_grad = False
    assert memory.needs(made, sampler, precision="32-true", chunk=None).weights == 4 * sum(
        each.numel() for each in made.parameters()
    )


def test_it_is_said_and_where_it_does_not_fit_what_to_lower(limbeck, monkeypatch):
    words = ["trainer.steps=1", "trainer.validate_every=0", "eval.start=false", "eval.teacher=false"]
    _, _, err = limbeck("train", *words)
    assert re.search(
        r"memory: about .* for weights and optimiser, .* for a batch of the longest texts; .* are free", err
    )
    monkeypatch.setattr(memory, "free", lambda device: 1000)
    status, _, err = limbeck("train", *words, "seed=2")
    assert status == 0  # it is an estimate, and stops nothing
    assert "it may not fit. Lower one of: sampler.batch_size (now 4), sampler.negatives (now 3)" in err


def test_where_nobody_says_what_is_free_nothing_is_warned_of():
    assert line(Needs(10**6, 10**6), None, {}) == (
        "memory: about 1 MB for weights and optimiser, 1 MB for a batch of the longest texts",
        False,
    )
