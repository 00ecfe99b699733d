"""Every loss against values and gradients computed by another program with explicit loops."""

import importlib
import inspect
import json
import os
from pathlib import Path

import pytest
import torch

REFERENCE = Path(__file__).parents[1] / "reference" / "losses.json"
DATA = json.loads(REFERENCE.read_text())
CASES = [case for case in DATA["cases"] if importlib.util.find_spec(f"limbeck.losses.{case['loss']}")]


def batch(order=None):
    """The three lists of the reference as a padded float64 batch, candidates in another order if asked."""
    width = max(len(query["student"]) for query in DATA["queries"])
    columns = {}
    for key, fill in (("student", 9.0), ("teacher", -7.0), ("labels", 1.0), ("ranks", 1.0)):
        rows = [query[key] + [fill] * (width - len(query[key])) for query in DATA["queries"]]
        columns[key] = torch.tensor(rows, dtype=torch.float64)
    mask = torch.tensor([[True] * len(q["student"]) + [False] * (width - len(q["student"])) for q in DATA["queries"]])
    if order is not None:
        columns = {key: value[:, order] for key, value in columns.items()}
        mask = mask[:, order]
    return columns, mask


def identify(case):
    return case["loss"] + "".join(f"-{key}={value}" for key, value in case["parameters"].items())


@pytest.mark.parametrize("order", [None, [3, 0, 5, 1, 4, 2]], ids=["listed", "permuted"])
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_value_and_gradient(case, order):
    columns, mask = batch(order)
    function = getattr(importlib.import_module(f"limbeck.losses.{case['loss']}"), case["loss"])
    student = columns["student"].clone().requires_grad_()
    extra = {"ranks": columns["ranks"]} if "ranks" in inspect.signature(function).parameters else {}
    values = function(student, columns["teacher"], columns["labels"], mask, **extra, **case["parameters"])
    torch.testing.assert_close(values, torch.tensor(case["per_query"], dtype=torch.float64), rtol=1e-6, atol=1e-12)
    values.mean().backward()
    expected = torch.zeros_like(student)
    for row, gradient in enumerate(case["grad"]):
        expected[row, : len(gradient)] = torch.tensor(gradient, dtype=torch.float64)
    if order is not None:
        expected = expected[:, order]
    torch.testing.assert_close(student.grad, expected, rtol=1e-5, atol=1e-8)


def test_every_shipped_loss_of_the_reference_is_covered():
    assert {case["loss"] for case in CASES} >= {"kl", "ckl", "margin_mse", "info_nce"}


def test_reference_file_is_the_shared_one():
    shared = Path(os.environ.get("LIMBECK_SHARED", Path(__file__).parents[3] / "shared")) / "reference" / "losses.json"
    if not shared.exists():
        pytest.skip(f"{shared} is absent")
    assert shared.read_bytes() == REFERENCE.read_bytes()
