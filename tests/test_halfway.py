"""Searching and scoring go on where a killed process last saved them, and find the same."""

import numpy as np
import pytest
import torch

from limbeck import halfway, inference
from limbeck.backbones.sources import load_tokenizer
from limbeck.backbones.tiny import Tiny
from limbeck.evaluation import ranking
from limbeck.evaluation.ranking import Asked, rerank, search_together
from limbeck.halfway import Halfway
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.text.collate import Collator
from limbeck.text.tokenizer import train_wordpiece
from limbeck.types import Ranking

WORDS = [f"w{i}" for i in range(30)]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return {f"{role}{i}": " ".join(rng.choice(WORDS, 8)) for role in "qd" for i in range(60)}


@pytest.fixture(scope="module")
def made(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_wordpiece(texts.values(), 100, folder)

    def call(student):
        torch.manual_seed(0)
        tokenizer = load_tokenizer(str(folder))
        model = student(lambda task: Tiny(width=16, layers=1, heads=2).model(tokenizer, task)).eval()
        return model, Collator(tokenizer, model.style, *[lambda ids: [texts[name] for name in ids]] * 2)

    return call


@pytest.fixture(params=[0.0, 1e9], ids=["saved", "not saved"])
def every(request, monkeypatch):
    monkeypatch.setattr(halfway, "EVERY", request.param)
    monkeypatch.setattr(ranking, "PIECE", 7)
    return request.param


def killed(monkeypatch, module, name, after):
    """Have a function fail once, after so many calls; returns a list that counts those that end."""
    real, calls = getattr(module, name), []

    def call(*given, **options):
        if len(calls) == after and not dead:
            dead.append(1)
            raise KeyboardInterrupt
        calls.append(1)
        return real(*given, **options)

    dead: list[int] = []
    monkeypatch.setattr(module, name, call)
    return calls


def same(one, other):
    assert list(one) == list(other)
    for query, (ids, scores) in one.items():
        assert other[query].ids == ids
        np.testing.assert_array_equal(other[query].scores, scores)


def test_a_search_of_two_sets(made, texts, tmp_path, monkeypatch, every):
    model, collator = made(Dense)
    queries, documents = ([name for name in texts if name[0] == role] for role in "qd")
    asked = [Asked(collator, queries[:5]), Asked(collator, queries[5:9])]

    def call(share=(0, 1)):
        kept = Halfway(tmp_path / str(share[0]), lambda: {"of": share})
        return search_together(model, asked, documents, 4, share=share, halfway=kept)

    whole = search_together(model, asked, documents, 4)
    calls = killed(monkeypatch, ranking, "_compare", 2 * 5)  # behind the fifth of nine pieces
    with pytest.raises(KeyboardInterrupt):
        call()
    for one, other in zip(whole, call(), strict=True):
        same(one, other)
    assert len(calls) == (2 * 9 if every == 0 else 2 * 9 + 2 * 5)
    shares = [call((number, 2)) for number in range(2)]
    for which, one in enumerate(whole):
        same(one, ranking.merge([share[which] for share in shares], 4))


@pytest.mark.parametrize("student", [Dense, CrossEncoder])
def test_a_reranking(student, made, texts, tmp_path, monkeypatch, every):
    model, collator = made(student)
    candidates = {f"q{i}": Ranking([f"d{(i * 7 + k) % 60}" for k in range(9)], -np.arange(9.0)) for i in range(6)}
    whole = rerank(model, collator, candidates)
    count = 54 // 7 + 1 if student is CrossEncoder else len({d for r in candidates.values() for d in r.ids}) // 7 + 1
    calls = killed(monkeypatch, inference.Scorer, "__call__", 3)
    kept = [Halfway(tmp_path, lambda: {"of": 1}) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        rerank(model, collator, candidates, halfway=kept[0])
    same(whole, rerank(model, collator, candidates, halfway=kept[1]))
    assert len(calls) == (count if every == 0 else count + 3)


def test_other_work_begins_anew(tmp_path, every):
    one, other = (Halfway(tmp_path, lambda number=number: {"of": number}) for number in range(2))
    assert one.read() == {}
    one.save(lambda: {"done": 3})
    assert {name: int(value) for name, value in one.read().items()} == ({"done": 3} if every == 0 else {})
    assert other.read() == {}
    assert len(list(tmp_path.iterdir())) == (every == 0)
