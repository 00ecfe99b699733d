"""Lightning's callbacks by configuration: what they do to a training, and what they refuse. Resume: test_resume.py."""

import json

import pytest

from limbeck.config import ConfigError
from limbeck.training.callbacks import Averaging, Ema, LearningRates, Stopping, make
from limbeck.training.trainer import Training

QUICK = ["eval.start=false", "eval.teacher=false", "trainer.validate_every=2"]


def only(path):
    (run,) = path.glob("train/*")
    return run


def test_the_mean_of_one_state_is_that_state_and_the_average_is_what_is_kept(limbeck, tmp_path):
    kept = {}
    for name, words in {
        "plain": [],
        "last": ["callbacks=weight_averaging", "callbacks.weight_averaging.start=7"],
        "ema": ["callbacks=[ema,learning_rate]", "callbacks.ema.decay=0.9"],
    }.items():
        status, _, err = limbeck("train", *QUICK, "eval.checkpoint=last", f"paths.runs={tmp_path}/{name}", *words)
        assert status == 0, err
        kept[name] = (only(tmp_path / name) / "model" / "model.safetensors").read_bytes()
    assert kept["plain"] == kept["last"]
    assert kept["plain"] != kept["ema"]
    metrics = next(only(tmp_path / "ema").glob("metrics/*/metrics.csv")).read_text()
    assert "lr-AdamW" in metrics.splitlines()[0]
    assert only(tmp_path / "plain").name != only(tmp_path / "ema").name  # it is another training


def test_a_training_that_does_not_get_better_is_stopped(limbeck, tmp_path):
    words = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optim.lr=1e-12"]
    status, _, err = limbeck("train", *QUICK, *words)
    assert status == 0, err
    assert json.loads((only(tmp_path / "runs") / "result.json").read_text())["training"]["steps"] == 4


@pytest.mark.parametrize(
    ("asked", "options", "monitor", "logs", "message"),
    [
        ({"early_stopping": Stopping()}, {}, None, True, "early_stopping: nothing is validated"),
        ({"early_stopping": Stopping()}, {"validate_every": 0}, "dev/x", True, "early_stopping: nothing is validated"),
        ({"learning_rate": LearningRates()}, {}, None, False, "learning_rate: logger=none logs nothing"),
        ({"ema": Ema()}, {"compile": True}, None, True, "callbacks.ema copies the student"),
        ({"ema": Ema()}, {"devices": 2}, None, True, "cannot resume exactly from averaged weights"),
        ({"ema": Ema(), "weight_averaging": Averaging()}, {}, None, True, "both average the weights; choose one"),
    ],
)
def test_what_does_not_go_together(asked, options, monitor, logs, message):
    with pytest.raises(ConfigError, match=message):
        make(asked, Training(accelerator="cpu", **options), monitor, logs=logs)


@pytest.mark.parametrize(
    ("part", "options"),
    [(Stopping, {"patience": 0}), (Stopping, {"min_delta": -1}), (Ema, {"decay": 1}), (Ema, {"start": -1}),
     (Averaging, {"every": 0}), (Averaging, {"start": -1})],
)  # fmt: skip
def test_values_out_of_range(part, options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must"):
        part(**options)
