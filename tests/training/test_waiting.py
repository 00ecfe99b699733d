"""No step waits for the device: a step of tensors that lie elsewhere, compute nothing, and know no number.

What would have to be known there (how many are not zero, a truth value) is an error; plain copies are looked for.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from limbeck.backbones import packing
from limbeck.backbones.bags import StaticModel
from limbeck.config import build, entries
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.training.guards import poisoned, signs
from limbeck.training.objective import Objective
from limbeck.types import Batch, Tokens

DEVICE = torch.device("meta")
CONFIG = BertConfig(
    vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, num_labels=1
)
STUDENTS = {"dense": Dense, "splade": Splade, "colbert": ColBERT, "cross_encoder": CrossEncoder}
LOSSES = sorted(name for kind, name in entries() if kind == "loss")


class Copies(TorchDispatchMode):
    """Notes copies between main memory and the device for which either waits."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        named = kwargs or {}
        if func is torch.ops.aten._to_copy.default and "device" in named:
            places = {args[0].device.type, torch.device(named["device"]).type}
            if len(places) > 1 and not named.get("non_blocking"):
                self.found.append(tuple(args[0].shape))
        return func(*args, **named)


@pytest.fixture
def copies(monkeypatch):
    packing.enable(BertModel(CONFIG))  # so that transformers knows our attention
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for this device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    with Copies() as found:
        yield found


def load(task):
    with torch.device(DEVICE):
        if task == "static":
            return StaticModel(torch.zeros(60, 32))
        kinds = {"encoder": lambda c: BertModel(c, False), "mlm": BertForMaskedLM}
        model = kinds.get(task, BertForSequenceClassification)(CONFIG)
    model.set_attn_implementation(packing.NAME)
    return model


def tokens(count, longest):
    lengths = np.random.default_rng(count).integers(2, longest + 1, count)
    mask = torch.from_numpy((np.arange(longest) < lengths[:, None]).astype(np.int64))
    return Tokens(torch.zeros_like(mask), mask, lengths=lengths.tolist())


def batch(paired):
    mask = torch.ones(4, 3, dtype=torch.bool)
    given = Batch(
        None if paired else tokens(4, 6), tokens(12, 20), torch.arange(12).view(4, 3), mask, mask.float(),
        torch.zeros(4, 3), torch.ones(4, 3), teacher_queries=torch.zeros(4, 32), teacher_documents=torch.zeros(12, 32),
        query_ids=list("abcd"),
        document_ids=[[f"{query}{place}" for place in range(3)] for query in "abcd"],
    )  # fmt: skip
    return given.to(DEVICE, non_blocking=True)


def made(name):
    """Return a student on the device."""
    with torch.device(DEVICE):
        if name == "static":
            return Dense(lambda _: load("static"))
        return STUDENTS[name](load).train()


def step(student, terms):
    data = batch(paired=not student.separable)
    output = student(data)
    found = signs(output, data, student)
    total, values = Objective({name: build(_node(name), key=name) for name in terms})(output, data)
    return poisoned(total), values, found


def _node(name):
    extra = {"in_batch": True} if name == "info_nce" else {}
    return {"_target_": f"loss/{name}", **extra}


@pytest.mark.parametrize("name", [*STUDENTS, "static"])
def test_the_forward_pass_of_no_student_waits(name, copies):
    total, values, found = step(made(name), ["kl"])
    assert total.device == DEVICE
    assert all(value.device == DEVICE for value in [*values.values(), *found.values()])
    assert copies.found == []


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in ("flops", "l1")])
def test_no_loss_waits(loss, copies):
    assert step(made("dense"), [loss])[0].device == DEVICE
    assert copies.found == []


def test_regularisers_do_not_wait(copies):
    assert step(made("splade"), ["kl", "flops", "l1"])[0].device == DEVICE
    assert copies.found == []


def test_a_copy_that_waits_is_seen(copies):
    torch.zeros(3).to(DEVICE)
    assert copies.found == [(3,)]
