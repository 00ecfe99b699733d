"""Small students of every kind, and texts for them."""

import json

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator, Example
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece

QUERIES = ["purring cats", "who swims, and where?", "a dog that barks at night - loudly"]
DOCUMENTS = [
    "cats purr",
    "fish swim in the sea; dogs bark, and a cat (small) purrs!",
    "a long night " * 20,
    "where dogs who bark swim loudly at sea",
]
TOO_LONG = 2
"""A document that every student cuts."""
LENGTHS = {"query_length": 12, "document_length": 20}

KINDS = {"dense": Dense, "splade": Splade, "colbert": ColBERT, "cross_encoder": CrossEncoder}
STUDENTS = {
    "dense": ("dense", {}),
    "dense-cosine": ("dense", {"similarity": "cosine", "scale": 20.0, "query_prefix": "cats: "}),
    "dense-cls": ("dense", {"pooling": "cls", "document_prefix": "a night "}),
    "dense-cut": ("dense", {"dimension": 8, "similarity": "cosine"}),
    "dense-separate": ("dense", {"towers": "separate", "similarity": "cosine", "query_prefix": "dogs "}),
    "dense-separate-cut": ("dense", {"towers": "separate", "dimension": 4, "learn_scale": True}),
    "splade": ("splade", {}),
    "splade-separate": ("splade", {"query_encoder": "separate", "scale": 0.1}),
    "splade-tokens": ("splade", {"query_encoder": "tokens"}),
    "colbert": ("colbert", {"dimension": 8}),
    "colbert-plain": (
        "colbert",
        {"dimension": 8, "query_augment": False, "skip_punctuation": False, "normalise": False, "query_marker": ""},
    ),
    "colbert-attended": ("colbert", {"attend_augmented": True, "scale": 2.0, "query_prefix": "cats "}),
    "cross-encoder-mean": ("cross_encoder", {"pooling": "mean"}),
    "cross-encoder-cls": ("cross_encoder", {"pooling": "cls"}),
    "cross-encoder-head": ("cross_encoder", {"pooling": "head"}),
}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_wordpiece([*QUERIES, *DOCUMENTS], 200, folder)
    # As in BERT's vocabulary: words like others, not special ones.
    told = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    vocabulary |= {f"[unused{number}]": len(vocabulary) + number for number in (0, 1)}
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture
def make(tokenizer):
    """Make a student of a name in STUDENTS, and its collator over QUERIES and DOCUMENTS."""

    def call(name, **options):
        kind, own = STUDENTS[name]
        torch.manual_seed(7)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64, num_labels=1, initializer_range=0.3,
        )  # fmt: skip
        models = {
            "encoder": lambda: BertModel(config, False),
            "mlm": lambda: BertForMaskedLM(config),
            "classifier": lambda: BertForSequenceClassification(config),
        }
        student = KINDS[kind](lambda task: models[task](), **{**LENGTHS, **own, **options}).eval()
        for parameter in getattr(getattr(student, "query_backbone", None), "parameters", list)():
            parameter.data += 0.3 * torch.randn_like(parameter)  # it started as a copy
        return student, collator_of(student, TextTokenizer(tokenizer))

    return call


def collator_of(student, tokenizer):
    def queries(ids):
        return [QUERIES[int(i)] for i in ids]

    def documents(ids):
        return [DOCUMENTS[int(i)] for i in ids]

    return Collator(tokenizer, student.style, queries, documents)


def scores_of(student, collator):
    """All scores of QUERIES and DOCUMENTS as limbeck computes them, (B, N)."""
    every = [str(i) for i in range(len(DOCUMENTS))]
    with torch.inference_mode():
        return student(collator([Example(str(i), every) for i in range(len(QUERIES))])).scores
