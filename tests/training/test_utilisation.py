"""What a training uses of its device: FLOPs by hand, peaks by name, and what is logged of it."""

import csv
import json

import pytest
import torch
from transformers import BertConfig, BertModel

from limbeck.training import progress, utilisation
from limbeck.training.utilisation import flops, peak, real_tokens
from limbeck.types import Batch, Tokens


def test_flops_are_three_times_those_that_torch_counts_forward():
    from torch.utils.flop_counter import FlopCounterMode

    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    model = BertModel(config, add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")  # torch does not count the kernel of a processor
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        model(torch.ones(3, 20, dtype=torch.long))
    assert flops(config, [20, 20, 20]) == 3 * counted.get_total_flops()
    assert flops(object(), [20]) == 0  # a table of vectors has no layers


def test_tokens_are_counted_without_padding():
    none = torch.zeros(2, 7, dtype=torch.long)
    given = Batch(Tokens(none, none), Tokens(none, none, lengths=[3, 7]), none, none.bool(), none.float())
    assert real_tokens(given) == [7, 7, 3, 7]  # where others attend to padding all of it is read


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989e12),
        ("NVIDIA A100-SXM4-40GB", "16-mixed", 312e12),
        ("NVIDIA A100-SXM4-40GB", "32-true", 19.5e12),
        ("NVIDIA L4", "bf16-mixed", 121e12),
        ("NVIDIA L40S", "bf16-mixed", 362e12),
        ("NVIDIA L40", "bf16-mixed", None),
        ("NVIDIA GeForce RTX 4090", "16-mixed", 165e12),
        ("cpu", "32-true", None),
    ],
)
def test_peaks_go_by_the_name_of_a_device(name, precision, expected):
    assert peak(name, precision) == expected


def test_a_training_logs_what_it_uses(limbeck, tmp_path, monkeypatch):
    """As on a device that is known, and whose driver can be asked."""
    monkeypatch.setattr(utilisation, "PEAKS", {"cpu": (1e12, 2e12)})
    monkeypatch.setattr(progress.utilisation, "busy", lambda device: 0.75)
    status, _, err = limbeck("train", "eval.start=false", "eval.teacher=false")
    assert status == 0, err
    (run,) = (tmp_path / "runs" / "train").iterdir()
    training = json.loads((run / "result.json").read_text())["training"]
    assert training["device"] == "cpu"
    assert training["tokens_per_second"] > 10 * training["queries_per_second"]
    assert 0 < training["mfu"] < 0.1
    assert "% of the peak of cpu" in err
    (metrics,) = run.rglob("metrics.csv")
    rows = [row for row in csv.DictReader(metrics.open()) if row["tokens/s"]]
    assert len(rows) == 2  # of eight updates, every fourth
    assert {float(row["GPU busy"]) for row in rows} == {0.75}
    assert all(0 < float(row["MFU"]) < 0.1 for row in rows)
    assert "device: cpu" in (metrics.parent / "hparams.yaml").read_text()
