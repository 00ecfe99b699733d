"""The share of the time that a training waits for data: measured, logged, told."""

import csv
import itertools
import logging
import sys
import time
import warnings

import lightning
import numpy as np
import pyarrow as pa
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from limbeck import progress
from limbeck.data.datamodule import TrainingData
from limbeck.data.pool import Pool
from limbeck.data.sampling import ListSampler
from limbeck.progress import draw_bars
from limbeck.training.progress import Bar, Lines, Speed, quiet
from limbeck.training.trainer import Training
from limbeck.types import Ranking

STEPS = 6


class Sleeper(lightning.LightningModule):
    """A step, and a validation, of known length."""

    def __init__(self, step, validation=0.0):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.step, self.validation = step, validation

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())

    def training_step(self, batch, batch_idx):
        time.sleep(self.step)
        loss = self.layer(batch).sum()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        time.sleep(self.validation)


def train(folder, *, loader, step=0.03, validation=0.0, callbacks=()):
    pool = Pool(["q"], np.array([0, 2]), pa.array(["a", "b"]), np.array([1, 0]), np.array([1, 2]))

    def collate(examples):
        time.sleep(loader)
        return torch.ones(len(examples), 1)

    dev = {"q": Ranking(["a"], np.ones(1))}
    data = TrainingData(pool, ListSampler(negatives=1, batch_size=4), collate, 1, STEPS, dev)
    speed = Speed(4, data)
    training = Training(accelerator="cpu", validate_every=2, log_every=1)
    logger = CSVLogger(folder, name="metrics")
    trainer = training.make(STEPS, folder, [speed, *callbacks], [logger], validate=validation > 0)
    trainer.fit(Sleeper(step, validation), datamodule=data)
    (metrics,) = folder.rglob("metrics.csv")
    rows = list(csv.DictReader(metrics.open()))
    return speed, rows


def test_a_slow_loader_is_seen_and_a_hint_given(tmp_path, caplog):
    caplog.set_level(logging.INFO, "limbeck")
    speed, rows = train(tmp_path, loader=0.1)
    assert speed.waiting > 0.5
    assert float(rows[-1]["waiting"]) == pytest.approx(speed.waiting)
    assert f"{100 * speed.waiting:.1f} % of the time waiting for data" in caplog.text
    assert "raise sampler.workers" in caplog.text


def test_an_ordinary_loader_is_hardly_waited_for(tmp_path, caplog):
    caplog.set_level(logging.INFO, "limbeck")
    speed, _ = train(tmp_path, loader=0.0, step=0.1)
    assert speed.waiting < 0.3
    assert "% of the time waiting for data" in caplog.text


def test_validation_counts_neither_as_training_nor_as_waiting(tmp_path):
    speed, _ = train(tmp_path, loader=0.0, validation=1.0)
    assert 4 / speed.queries_per_second < 0.3  # two of the counted steps follow a validation of a second
    assert speed.waiting < 0.5


def test_without_a_terminal_a_line_is_logged_every_so_often(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "limbeck")
    ticks = itertools.count(step=20)  # the start, then a step every 20 seconds
    monkeypatch.setattr(progress, "clock", lambda: next(ticks))
    speed, _ = train(tmp_path, loader=0.0, step=0.0)
    (line,) = (message for message in caplog.messages if message.startswith("step "))
    step, loss, rate, left = line.split("  ")  # the end of the training has lines of its own
    assert (step, left) == (f"step 3/{STEPS}", "about 60 s left")
    assert float(loss.removeprefix("loss ")) != 0
    assert float(rate.removesuffix(" queries/s")) > 0
    assert speed.queries_per_second > 0


@pytest.mark.parametrize(
    ("terminal", "alone", "shown"), [(True, True, Bar), (True, False, Lines), (False, True, Lines)]
)
def test_bars_are_drawn_by_processes_that_have_a_terminal_for_themselves(tmp_path, monkeypatch, terminal, alone, shown):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    for stream in (sys.stderr, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    draw_bars(alone)
    try:
        trainer = Training(accelerator="cpu").make(STEPS, tmp_path, [], [], validate=False)
    finally:
        draw_bars(True)
    assert sum(isinstance(each, Bar | Lines) for each in trainer.callbacks) == 1
    assert any(isinstance(each, shown) for each in trainer.callbacks)


def test_what_limbeck_says_itself_lightning_does_not_repeat():
    said = "The number of training batches (2) is smaller than the logging interval Trainer(log_every_n_steps=4)."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet()
        warnings.warn(said, stacklevel=1)
        warnings.warn("something new", stacklevel=1)
    assert [str(each.message) for each in caught] == ["something new"]
