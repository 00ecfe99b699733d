"""Texts read without padding, in groups and sub-batches; dropout that draws few random bits."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import BertConfig, BertModel

from limbeck.backbones import packing
from limbeck.backbones.dropout import Dropout, dropped_attention, kept, quicken
from limbeck.backbones.packing import enable, states
from limbeck.backbones.sub_batches import compiled, in_sub_batches, inputs
from limbeck.types import Tokens

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def make(dropout=0.0, **changed):
    torch.manual_seed(0)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = BertModel(BertConfig(vocab_size=50, max_position_embeddings=300, **{**SHAPE, **changed}, **rates))
    for name, parameter in model.named_parameters():
        if "LayerNorm" not in name:
            parameter.data.mul_(4)
    return model


def tokens(lengths, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = torch.from_numpy(rng.integers(1, 50, mask.shape) * mask)
    return Tokens(ids, torch.from_numpy(mask).long(), torch.from_numpy(mask & (rng.random(mask.shape) < 0.5)).long(),
                  lengths=list(lengths))  # fmt: skip


LENGTHS = {
    "mixed": [3, 250, 40, 41, 42, 7, 120, 7, 7],
    "alike": [12] * 6,
    "one": [5],
    "many groups": list(range(1, 70)),
    "more than a group holds": [200, 201, 199, *[200] * 30],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("way", ["packed", "sub-batches"])
def test_states_are_those_of_padded_texts(lengths, way):
    model = make().eval()
    there = tokens(lengths)
    padded = model(**inputs(model, there)).last_hidden_state
    if way == "packed":
        assert enable(model)
    found = states(model, there)
    real = there.attention_mask.bool()
    assert found.shape == padded.shape
    assert torch.allclose(found[real], padded[real], atol=1e-5)


def test_groups_hold_every_text_once_and_little_padding():
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(1, 257, 500))
    bounds = np.concatenate(([0], lengths.cumsum()))
    for device in (torch.device("cpu"), torch.device("meta")):
        groups = list(packing._groups(lengths, bounds, device))
        assert sum(group.texts for group in groups) == len(lengths)
        assert sum(group.tokens for group in groups) == lengths.sum()
        assert sum(group.texts * group.width for group in groups) < 1.12 * lengths.sum()
    assert len(groups) < 30  # a GPU takes all that are alike at once


def test_sub_batches_cut_texts_to_their_length():
    there = tokens([3, 2000, 40, 1500, 41])
    cut = []

    def read(some):
        cut.append(some)
        return some.input_ids[:, :3]

    assert torch.equal(in_sub_batches(make(), there, read), there.input_ids[:, :3])
    assert [some.input_ids.shape for some in cut] == [(1, 2000), (1, 1500), (3, 41)]
    assert [some.lengths for some in cut] == [[2000], [1500], [41, 40, 3]]


class Student(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = make(num_hidden_layers=1).eval()


@torch._dynamo.config.patch(recompile_limit=1)  # which would leave the second shape uncompiled
def test_a_compiled_model_reads_few_shapes_and_the_same_states():
    student = Student()
    enable(student.backbone)
    several = [tokens(lengths, seed) for seed, lengths in enumerate(([5, 9, 30, 31], [3, 32, 17], [40, 2, 64]))]
    wanted = [states(student.backbone, there) for there in several]
    compiled(student, backend="aot_eager")  # inductor takes half a minute, and is the same from here on
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for there, states_before in zip(several, wanted, strict=True):
        found = states(student.backbone, there)
        real = there.attention_mask.bool()
        assert torch.allclose(found[real], states_before[real], atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # widths 32 and 64, whatever the texts
    found.sum().backward()
    assert student.backbone.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert all("_orig_mod" not in name for name in student.state_dict())


def test_a_model_with_an_attention_of_its_own_is_read_padded():
    model = make()
    model.set_attn_implementation("eager")
    assert not enable(model)
    assert model.config._attn_implementation == "eager"


def test_a_model_that_mixes_texts_up_is_found_out(monkeypatch):
    model = make()
    mixed = lambda module, q, k, v, mask, **_: (torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2), None)  # noqa: E731, E501 # fmt: skip
    monkeypatch.setattr(packing, "NAME", "mixed")
    monkeypatch.setattr(packing, "_attention", mixed)
    assert not enable(model)
    assert model.config._attn_implementation == "sdpa"


def test_dropout_keeps_the_share_it_should_and_the_mean():
    torch.manual_seed(0)
    keep, factor = kept(torch.Size((1000, 1001)), 0.1)
    assert keep.shape == (1000, 1001)
    assert abs(keep.float().mean().item() - 0.9) < 2e-3  # six standard deviations
    assert abs(factor - 1 / 0.9) < 2e-5
    assert (keep.float().mean(0) - 0.9).abs().max() < 0.06  # no column is favoured
    module = Dropout(0.25)
    assert abs(module(torch.ones(100_000)).mean().item() - 1) < 0.02
    assert module(torch.ones(1000)).unique().tolist() == pytest.approx([0, 1 / 0.75], abs=1e-6)
    assert torch.equal(module.eval()(torch.ones(5)), torch.ones(5))


def test_dropout_follows_the_seed():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(kept(torch.Size((64,)), 0.5)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_attention_with_dropout_has_the_gradient_of_what_it_computes():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 1, 1, 5) > 0.3
    mask[..., 0] = True

    def attend(*given):
        torch.manual_seed(1)
        return dropped_attention(*given, mask, 0.3)

    assert torch.autograd.gradcheck(attend, (q, k, v))
    torch.manual_seed(1)
    keep, factor = kept(torch.Size((2, 3, 5, 5)), 0.3)
    weights = (q @ k.mT / 2).masked_fill(~mask, -torch.inf).softmax(-1)
    assert torch.allclose(attend(q, k, v), (weights * keep * factor) @ v)


def test_dropout_of_a_packed_model_is_on_in_training_only():
    model = make(dropout=0.2)
    assert enable(model)
    assert sum(type(module) is Dropout for module in model.modules()) == 7
    there = tokens([3, 9, 20])
    assert torch.equal(states(model.eval(), there), states(model, there))
    assert not torch.equal(states(model.train(), there), states(model, there))
    with torch.no_grad():
        mean = torch.stack([states(model, there) for _ in range(200)]).mean(0)
    assert 0 < (mean - states(model.eval(), there))[there.attention_mask.bool()].abs().mean() < 0.2


def test_dropout_of_other_kinds_is_left_alone():
    kind = type("Own", (torch.nn.Dropout,), {})
    model = torch.nn.Sequential(torch.nn.Dropout(0.1), kind(0.1), torch.nn.Dropout(1.0))
    quicken(model)
    assert [type(module) for module in model] == [Dropout, kind, torch.nn.Dropout]


@pytest.mark.parametrize("window", [None, 4])
def test_the_kernel_of_gpus_takes_what_it_is_given(window):
    """The call, shapes and types of flash attention over texts of any length, without a GPU: nothing is computed."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        given = [torch.empty(10, 2, 32, device="cuda:0", dtype=torch.bfloat16) for _ in range(3)]
        layout = packing.Layout([], torch.empty(3, dtype=torch.int32, device="cuda:0"), 6)
        found = packing._one_kernel(*given, layout, 0.1, window)
        assert found.shape == (10, 2, 32)
        assert (found.dtype, found.device) == (torch.bfloat16, torch.device("cuda:0"))
