"""The small students of the export tests, as models of sentence-transformers, and lists to train them on."""

import random

import pytest
import sentence_transformers
from tests.export.conftest import DOCUMENTS, QUERIES, make, tokenizer  # noqa: F401 - fixtures
from torch import nn

from limbeck.export.modules import pipeline

WORDS = sorted({word for text in (*QUERIES, *DOCUMENTS) for word in text.split()})


def lists(count, width, seed=3):
    """Columns of lists of documents with teacher scores, grades (one or two positives) and ranks."""
    draw = random.Random(seed)

    def text():
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 3)))

    return {
        "query": [text() for _ in range(count)],
        "documents": [[text() for _ in range(width)] for _ in range(count)],
        "scores": [[draw.gauss(0, 3) for _ in range(width)] for _ in range(count)],
        "labels": [draw.sample([1.0, 1.0, 0.0] + [0.0] * (width - 3), k=width) for _ in range(count)],
        "ranks": [draw.sample(range(1, 3 * width), k=width) for _ in range(count)],
    }


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture
def model(make, tmp_path):  # noqa: F811
    """Make a student of the export tests, its collator, and the same weights as a model of sentence-transformers."""

    def call(name, **options):
        student, collator = make(name, **options)
        made = pipeline(student, collator)
        made.write(tmp_path / name)
        loaded = getattr(sentence_transformers, made.library)(str(tmp_path / name), device="cpu")
        return without_dropout(student), collator, without_dropout(loaded)

    return call
