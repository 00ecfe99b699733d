"""What a GPU must prove: the numbers of the processor, in every way that a student reads, trains and goes on.

``make gpu`` runs them; ``--device cpu`` runs the same where there is none.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
)

from limbeck.backbones import packing
from limbeck.backbones.chunks import chunks_of
from limbeck.losses.info_nce import InfoNCE
from limbeck.losses.kl import kl
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.training.module import Distillation
from limbeck.training.objective import Objective
from limbeck.types import Batch, Tokens

pytestmark = pytest.mark.gpu

KINDS = {"dense": Dense, "splade": Splade, "colbert": ColBERT, "cross_encoder": CrossEncoder}
SHORT = ["eval.start=false", "eval.teacher=false", "trainer.validate_every=4", "trainer.log_every=2"]


@pytest.fixture(autouse=True)
def _whole_float32():
    """Multiply float32 as float32, not as TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
    torch.use_deterministic_algorithms(False)


def load(dropout=0.0, width=64):
    def made(task):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=200, hidden_size=width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, num_labels=1,
        )  # fmt: skip
        if task == "encoder":
            model = BertModel(config, False)
        else:
            model = BertForMaskedLM(config) if task == "mlm" else BertForSequenceClassification(config)
        packing.enable(model)
        return model

    return made


def tokens(count, longest, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest + 1, count)
    lengths[0] = longest
    mask = np.arange(longest) < lengths[:, None]
    ids = torch.from_numpy(rng.integers(5, 200, mask.shape) * mask)
    return Tokens(ids, torch.from_numpy(mask).long(), lengths=lengths.tolist())


def batch(paired=False, queries=8, candidates=4, longest=60):
    draw = torch.Generator().manual_seed(3)
    shape = (queries, candidates)
    return Batch(
        None if paired else tokens(queries, 12, 1), tokens(queries * candidates, longest, 2),
        torch.arange(queries * candidates).view(shape), torch.ones(shape, dtype=torch.bool),
        torch.tensor([[1.0] + [0.0] * (candidates - 1)] * queries), torch.randn(shape, generator=draw),
    )  # fmt: skip


def passed(kind, device, *, dropout=0.0, half=False, chunk=None):
    """Return scores and gradients, in main memory, of a forward and a backward pass."""
    student = KINDS[kind](load(dropout)).train().to(device)
    data = batch(paired=not student.separable).to(device)
    torch.manual_seed(5)
    with torch.autocast(device.type, torch.bfloat16, enabled=half), chunks_of(chunk):
        output = student(data)
    value = kl(output.scores.float(), data.teacher_scores, data.labels, data.mask).mean()
    if chunk:
        value = value + InfoNCE(in_batch=True)(output, data)
    value.backward()
    gradients = {name: each.grad.cpu() for name, each in student.named_parameters() if each.grad is not None}
    return output.scores.detach().float().cpu(), gradients


def apart(ours, theirs):
    """Return how far a tensor is from another, in parts of its size."""
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-12)).item()


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_that_of_the_processor(kind, device):
    scores, gradients = passed(kind, device)
    wanted, wanted_gradients = passed(kind, torch.device("cpu"))
    assert apart(scores, wanted) < 1e-5
    assert gradients.keys() == wanted_gradients.keys()
    size = max(each.norm().item() for each in wanted_gradients.values())
    for name, gradient in gradients.items():  # in parts of the largest: some are rounding alone
        assert (gradient - wanted_gradients[name]).norm().item() < 1e-4 * size, name


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_float32(kind, device):
    scores, gradients = passed(kind, device, half=True)
    wanted, wanted_gradients = passed(kind, device)
    assert apart(scores, wanted) < 0.03
    everything = [torch.cat([each.flatten() for each in found.values()]) for found in (gradients, wanted_gradients)]
    takes_maxima = kind in ("splade", "colbert")  # of which rounding chooses another now and then
    assert apart(*everything) < (0.3 if takes_maxima else 0.1)


def modern(window):
    torch.manual_seed(0)
    return ModernBertModel(ModernBertConfig(
        vocab_size=200, hidden_size=64, num_hidden_layers=3, num_attention_heads=2, intermediate_size=96,
        local_attention=window, pad_token_id=0, max_position_embeddings=256,
    ))  # fmt: skip


@pytest.mark.parametrize("model", ["bert", "wide heads", "modernbert, window of 16"])
def test_one_kernel_reads_as_padded_texts_are_read(model, device, monkeypatch):
    """In 16 bits without dropout; on a processor the way of groups takes its place."""
    called, kernel = [], packing._one_kernel
    monkeypatch.setattr(packing, "_one_kernel", lambda *given: called.append(1) or kernel(*given))
    if model.startswith("modernbert"):
        made = modern(16)
        assert packing.enable(made)
    else:
        made = load(width=256 if model == "wide heads" else 64)("encoder")
    made = made.to(device).eval()
    there = tokens(9, 120, 4)._map(lambda value: value.to(device))
    real = there.attention_mask.bool()
    weights = torch.randn(64 if model != "wide heads" else 256, device=device)

    def states(read):
        made.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            found = read(made, there)[real]
        (found.float() @ weights).sum().backward()
        return found.detach().float(), torch.cat(
            [each.grad.flatten() for each in made.parameters() if each.grad is not None]
        )

    (packed, gradient), (padded, wanted) = states(packing._packed), states(packing._padded)
    assert bool(called) == (device.type == "cuda")
    assert apart(packed, padded) < 0.02
    assert apart(gradient, wanted) < 0.05


@pytest.mark.parametrize("kind", ["dense", "colbert"])
def test_chunks_draw_the_same_dropout_twice(kind, device, monkeypatch):
    scores, gradients = passed(kind, device, dropout=0.3, chunk=5)
    monkeypatch.setattr("limbeck.backbones.chunks.checkpoint", lambda function, *given, **_: function(*given))
    plain, wanted = passed(kind, device, dropout=0.3, chunk=5)
    assert torch.equal(scores, plain)
    for name, gradient in wanted.items():
        assert apart(gradients[name], gradient) < 1e-4, name


@contextmanager
def refusing_to_wait():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["dense", "colbert", "cross_encoder"])
def test_no_step_waits(kind, device):
    student = KINDS[kind](load(0.1)).train().to(device)
    data = batch(paired=not student.separable).to(device)

    def step():
        output = student(data)
        kl(output.scores, data.teacher_scores, data.labels, data.mask).mean().backward()

    step()  # what is set up once may wait
    with refusing_to_wait() if device.type == "cuda" else nullcontext():
        step()


@pytest.fixture
def train(limbeck, tmp_path, device):
    """Train the small world's student; returns its weights, and its log."""

    def call(name, *words, accelerator=None):
        chosen = accelerator or ("gpu" if device.type == "cuda" else "cpu")
        status, _, err = limbeck("train", f"trainer.accelerator={chosen}", *SHORT, *words, f"name={name}")
        assert status == 0, err
        (run,) = (tmp_path / "runs" / name).iterdir()
        return load_file(run / "model" / "model.safetensors"), err

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_ends_with_the_weights_of_the_processor(kind, train):
    words = [f"student={kind}", "backbone.dropout=0", "optim.eps=1e-3", "loss=ckl"]
    ours, _ = train("ours", *words)
    theirs, _ = train("theirs", *words, accelerator="cpu")
    for name, weight in theirs.items():
        assert (ours[name] - weight).abs().max().item() < 1e-4, name


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", ["dense", "cross_encoder"])
def test_mixed_precision_trains(precision, kind, train):
    words = [f"student={kind}", "backbone.dropout=0", "optim.eps=1e-3"]
    mixed, _ = train("mixed", *words, f"trainer.precision={precision}")
    whole, _ = train("whole", *words)
    for name, weight in whole.items():
        assert mixed[name].isfinite().all()
        assert (mixed[name] - weight).abs().max().item() < 0.02, name


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_an_update_that_is_not_finite_is_left_out(precision, train, monkeypatch):
    forward, calls = Objective.forward, []

    def spoiled(self, output, given):
        total, values = forward(self, output, given)
        calls.append(1)
        return (total * torch.nan if len(calls) == 5 else total), values

    monkeypatch.setattr(Objective, "forward", spoiled)
    weights, err = train("spoiled", f"trainer.precision={precision}", "trainer.nonfinite=skip")
    assert err.count("this update is skipped") == 1
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic_trainings_have_the_same_bits(kind, train):
    words = [f"student={kind}", "backbone.dropout=0.1", "trainer.deterministic=true"]
    first, _ = train("first", *words)
    again, _ = train("again", *words)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_resumed_training_has_the_same_bits(train, limbeck, monkeypatch, device):
    words = ["backbone.dropout=0.1", "trainer.deterministic=true", "sampler.refresh_ranks=3", "loss=ckl"]
    whole, _ = train("whole", *words)
    step = Distillation.training_step

    def interrupted(self, data, number):
        if number == 5:
            raise RuntimeError("the machine is gone")
        return step(self, data, number)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "training_step", interrupted)
        accelerator = "gpu" if device.type == "cuda" else "cpu"
        assert limbeck("train", f"trainer.accelerator={accelerator}", *SHORT, *words, "name=cut")[0] == 1
    cut, err = train("cut", *words)
    assert "going on from" in err
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_reading_without_padding_takes_less_memory(device):
    """Peak of a step, texts of 4 to 120 tokens; only a GPU tells."""
    if device.type != "cuda":
        pytest.skip("main memory has no peak of a step")
    data = batch(queries=16, candidates=16, longest=120).to(device)
    peaks = []
    for read in (packing.NAME, "sdpa"):
        student = Dense(load()).train().to(device)
        student.backbone.set_attn_implementation(read)
        if read == "sdpa":
            data.documents.lengths = None
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", torch.bfloat16):
            student(data).scores.sum().backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] < 0.8 * peaks[1]
