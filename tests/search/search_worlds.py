"""Students of each kind on a small collection of random words."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from limbeck.backbones.sources import load_tokenizer
from limbeck.backbones.tiny import Tiny
from limbeck.compare import products
from limbeck.config import ConfigError
from limbeck.encodings import Rows
from limbeck.inference import BiEncoder, encode
from limbeck.search.encoding import encode_into
from limbeck.search.plaid import Plaid
from limbeck.search.shards import Store
from limbeck.students.colbert import ColBERT
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator
from limbeck.text.tokenizer import train_wordpiece
from limbeck.types import Run, order

WORDS = [a + b + c for a in "bklm" for b in "aeiou" for c in "nprs"]
RNG = np.random.default_rng(0)
DOCUMENTS = {f"d-{i}": " ".join(RNG.choice(WORDS, RNG.integers(1, 30))) for i in range(230)}
QUERIES = {f"q{i}": " ".join(RNG.choice(WORDS, 4)) for i in range(9)}
STUDENTS = {
    "dense": lambda load: Dense(load, similarity="cosine", scale=20.0),
    "sparse": lambda load: Splade(load, scale=0.5),
    "multi": lambda load: ColBERT(load, dimension=16, scale=2.0, query_length=8),
}


def _lacking_of_plaid() -> str:
    """Return why PLAID cannot run here; nothing where it can."""
    try:
        Plaid().check()
    except ConfigError as error:
        return str(error)
    return ""


needs_plaid = pytest.mark.skipif(bool(_lacking_of_plaid()), reason=f"{_lacking_of_plaid()} (make plaid)")


class World(NamedTuple):
    """A student with what it made of the collection."""

    ranker: BiEncoder
    collator: Collator
    store: Store
    query_ids: list[str]
    queries: Rows


def tokenizer(folder: Path):
    train_wordpiece(DOCUMENTS.values(), 120, folder)
    return load_tokenizer(str(folder))


def student(kind, tokens, seed=0):
    torch.manual_seed(seed)
    made = STUDENTS[kind](lambda task: Tiny(width=16, layers=1, heads=2).model(tokens, task)).eval()
    for name, parameter in made.named_parameters():  # fresh weights are too small to tell texts apart
        if "LayerNorm" not in name:
            parameter.data.mul_(8)
    if kind == "sparse":  # and every word would have a weight
        decoder = made.backbone.get_output_embeddings()
        decoder.bias.data.fill_(-torch.linalg.vector_norm(decoder.weight.data, dim=1).mean().item())
    texts = DOCUMENTS | QUERIES

    def look_up(ids):
        return [texts[name] for name in ids]

    return made, Collator(tokens, made.style, look_up, look_up)


def identity(kind, **changed):
    return {"kind": kind, "dtype": "float32", "shard_size": 50, "weights": "w", "student": {"scale": 1}} | changed


def world(kind, tokens, folder, *, documents=DOCUMENTS, **changed):
    made, collator = student(kind, tokens)
    store = Store.open(folder, identity(kind, **changed), {})
    assert encode_into(store, made, collator, documents.items()).finished
    queries = list(QUERIES)
    return World(made, collator, store, queries, encode(made, collator, queries, "query"))


def expected(made: World, depth: int) -> Run:
    """Score every document, and sort."""
    documents = list(DOCUMENTS)
    scores = products(made.ranker, made.queries, encode(made.ranker, made.collator, documents, "document")).numpy()
    kept = [(line > 0) | (made.store.kind != "sparse") for line in scores]
    return {
        query: order([d for d, k in zip(documents, keep, strict=True) if k], line[keep], depth)
        for query, line, keep in zip(made.query_ids, scores, kept, strict=True)
    }
