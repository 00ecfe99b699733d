"""Diagnostics of real training steps: those of the objective, however an update is scaled and cut into batches."""

import csv

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader

from limbeck.losses.diagnostics import diagnostics
from limbeck.losses.kl import kl
from limbeck.losses.on_scores import terms
from limbeck.losses.term import Term
from limbeck.students import base
from limbeck.training.module import Distillation
from limbeck.training.objective import Objective
from limbeck.training.optim import AdamW
from limbeck.types import Batch, StudentOutput, Tokens

QUERIES, LIST = 8, 5


def columns():
    draw = torch.Generator().manual_seed(3)
    labels = torch.zeros(QUERIES, LIST)
    labels[torch.arange(QUERIES - 1), torch.arange(QUERIES - 1) % LIST] = 1
    mask = torch.rand(QUERIES, LIST, generator=draw) < 0.8
    mask[:, :2] = True
    return torch.randn(QUERIES, LIST, generator=draw), torch.randn(QUERIES, LIST, generator=draw), labels, mask


class Student(base.Student):
    """A score for each pair, and smaller sizes that say something else."""

    def __init__(self, sizes=0):
        super().__init__()
        self.scores = nn.Parameter(columns()[0])
        self.sizes = sizes

    def forward(self, batch):
        rows = [int(name) for name in batch.query_ids]
        smaller = [StudentOutput(-self.scores[rows] * (n + 1)) for n in range(self.sizes)]
        return StudentOutput(self.scores[rows], smaller=smaller)


def batches(size):
    _, teacher, labels, mask = columns()
    none = torch.zeros(1, 1, dtype=torch.long)
    for start in range(0, QUERIES, size):
        some = slice(start, start + size)
        index = torch.zeros(size, LIST, dtype=torch.long)
        names = [str(number) for number in range(start, start + size)]
        data = (mask[some], labels[some], teacher[some])
        yield Batch(Tokens(none, none), Tokens(none, none), index, *data, query_ids=names)


def wanted(weight):
    scores, teacher, labels, mask = columns()
    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(weight * kl(scores, teacher, labels, mask).mean(), scores)
    of_candidates = weight * terms(kl)(scores.detach(), teacher, labels, mask)
    return {
        (f"diagnostics/{name}/{rank}" if value.ndim else f"diagnostics/{name}"): float(each)
        for name, value in diagnostics(scores.detach(), gradient, teacher, labels, mask, terms=of_candidates).items()
        if name != "kl_to_teacher"
        for rank, each in (enumerate(value.unbind(), 1) if value.ndim else [(0, value)])
    }


def logged(folder, *, size=QUERIES, scale=None, sizes=0, weight=3.0):
    plugins = []
    if scale:
        plugins = [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))]
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=1, accumulate_grad_batches=QUERIES // size, log_every_n_steps=1,
        logger=CSVLogger(folder), enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        plugins=plugins,
    )  # fmt: skip
    student = Student(sizes)
    module = Distillation(student, Objective({"kl": Term(kl, weight=weight)}), AdamW(lr=1e-3), 1, 0)
    trainer.fit(module, DataLoader(list(batches(size)), batch_size=None))
    (metrics,) = folder.rglob("metrics.csv")
    (row,) = csv.DictReader(metrics.open())
    return {name: float(value) for name, value in row.items() if name.startswith("diagnostics/") and value}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 4},
        {"size": 1},
        {"scale": 65536.0},
        {"scale": 8.0, "size": 2},
        {"sizes": 2},
    ],
    ids=str,
)
def test_they_are_those_of_the_objective(tmp_path, options):
    """Whatever the loss scale, the batches of an update, and the smaller sizes of the embeddings that learn, too."""
    found = logged(tmp_path, **options)
    expected = wanted(3.0)
    assert expected.keys() == found.keys()
    assert expected["diagnostics/positive_contribution"] > 0.1
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_weights_of_terms_count(tmp_path):
    found, doubled = logged(tmp_path / "1", weight=1.0), logged(tmp_path / "2", weight=2.0)
    for name in ("positive_contribution", "negative_contribution", "negative_by_rank/1", "negative_terms"):
        assert doubled[f"diagnostics/{name}"] == pytest.approx(2 * found[f"diagnostics/{name}"])
    assert doubled["diagnostics/terms_ratio"] == pytest.approx(found["diagnostics/terms_ratio"])
    assert doubled["diagnostics/negative_ratio"] == pytest.approx(found["diagnostics/negative_ratio"])


@pytest.mark.slow
def test_one_batch_accumulation_and_two_processes_log_the_same(forked, limbeck, tmp_path, small, cache):
    own = [
        "trainer.steps=2",
        "trainer.log_every=1",
        "eval.start=false",
        "eval.teacher=false",
        "backbone.dropout=0",
        "loss=[ckl,info_nce]",
    ]
    runs = {"whole": ["sampler.batch_size=4"], "accumulated": ["sampler.batch_size=1", "trainer.accumulate=4"]}
    for name, words in runs.items():
        status, _, err = limbeck("train", *own, *words, f"name={name}")
        assert status == 0, err
    words = ["train", *small, f"paths.cache={cache}", *own, "sampler.batch_size=2", "trainer=ddp_cpu", "name=shared"]
    assert forked.both(words, tmp_path) == (0, 0), (tmp_path / "output").read_text()

    def rows(name):
        (metrics,) = (tmp_path / "runs" / name).glob("*/metrics/*/metrics.csv")
        return [
            {key: float(value) for key, value in row.items() if key.startswith("diagnostics/") and value}
            for row in csv.DictReader(metrics.open())
            if row["diagnostics/negative_ratio"]
        ]

    whole = rows("whole")
    assert len(whole) == 2
    assert whole[0]["diagnostics/positive_contribution"] > 0
    for name in ("accumulated", "shared"):
        for step, expected in enumerate(whole):
            assert rows(name)[step] == pytest.approx(expected, rel=1e-3, abs=1e-6), (name, step)
