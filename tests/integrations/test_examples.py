"""The examples run as they are, and save what they trained."""

import runpy
import sys

import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from transformers import AutoModel, AutoModelForSequenceClassification

from limbeck.config import home
from limbeck.export.modules import pipeline

EXAMPLES = {
    "sentence_transformers_dense": ("dense-cosine", SentenceTransformer),
    "sentence_transformers_sparse": ("splade", SparseEncoder),
    "sentence_transformers_cross_encoder": ("cross-encoder-head", CrossEncoder),
    "lightning_loop": ("cross-encoder-head", AutoModelForSequenceClassification.from_pretrained),
    "pytorch_loop": ("dense-cosine", AutoModel.from_pretrained),
}
FOLDER = home() / "examples"
ELSEWHERE = {"broken_labels", "refinement"}
"""Run by tests/test_experiments.py."""


def test_every_example_is_run():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*EXAMPLES} | ELSEWHERE


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_trains_and_saves(example, make, tmp_path, monkeypatch):
    name, load = EXAMPLES[example]
    pipeline(*make(name)).write(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [example, "model"])
    runpy.run_path(str(FOLDER / f"{example}.py"), run_name="__main__")
    before, after = (dict(load(folder).named_parameters()) for folder in ("model", "trained"))
    moved = {key: (after[key] - weight).abs().max().item() for key, weight in before.items() if "pooler" not in key}
    # Each of ten steps by AdamW moves a weight with a gradient by no more than about the learning rate.
    assert 1e-5 < max(moved.values()) < 3e-4, moved
