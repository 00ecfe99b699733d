"""Language models as teachers: ``limbeck score`` with limits and prompts to look at, and training from them."""

import pytest

import limbeck as front_door
from language_models import save
from limbeck.scores.store import ScoreStore
from small import WORLD

LM = ["teacher=causal_lm", "teacher.model=lm", "teacher.max_length=100", "candidates.depth=6"]


@pytest.fixture(autouse=True)
def lm(tmp_path):
    return save(tmp_path / "lm", "llama")


@pytest.fixture
def score(limbeck, cache):
    def call(*words):
        status, out, err = limbeck("score", *WORLD, "accelerator=cpu", f"paths.cache={cache}", *LM, *words, small=False)
        return status, out, err

    return call


def test_prompts_are_shown_and_nothing_is_written(score, tmp_path, cache, monkeypatch):
    status, out, err = score("show=true", "limit=2")
    assert status == 0, err
    assert out.count("── query ") == 2
    assert "<|begin_of_text|>Does the document answer the query? Answer yes or no.\nQuery: " in out
    assert "'sw' 'er' ':'" in out
    assert out.count("── logits                    'Ġyes' ") == 2
    assert not list(tmp_path.rglob("meta.json"))
    words = [*WORLD, "accelerator=cpu", f"paths.cache={cache}", *LM]
    monkeypatch.chdir(tmp_path)
    result = front_door.score(*words, "show=true", "limit=2")
    assert str(result) == out.strip("\n")
    yes, no = result.rows[1]["answers"].values()
    assert result.rows[1]["score"] == pytest.approx(yes - no)
    assert score("show=true", "limit=2", "teacher.max_length=60")[1].count("of the document are cut here") == 2


def test_a_limit_scores_the_first_pairs_and_the_store_grows(score, tmp_path):
    status, _, err = score("limit=7", "out=store")
    assert status == 0, err
    assert len(ScoreStore.open(tmp_path / "store")) == 7
    status, _, err = score("limit=30", "out=store")
    assert status == 0, err
    assert len(ScoreStore.open(tmp_path / "store")) == 30
    status, _, err = score("limit=30", "out=store", "teacher.prompt.instruction=Judge it.")
    assert status == 2
    assert "the score store there has prompt 'free (" in err
    shown = front_door.score(*WORLD, "accelerator=cpu", *LM, "show=true", "limit=3").rows
    store = ScoreStore.open(tmp_path / "store")
    for each in shown:
        assert store.lookup(each["query"], [each["document"]])[0] == pytest.approx(each["score"], abs=1e-5)


def test_a_training_scores_by_itself_and_from_the_store_alike(score, limbeck):
    assert score("splits=[train,test]", "out=store")[0] == 0
    rows = []
    for name, words in {"direct": LM, "stored": ["teacher=store", "teacher.path=store", LM[-1]]}.items():
        quick = ["trainer.steps=2", "trainer.validate_every=0", "eval.start=false"]
        status, out, err = limbeck("train", f"name={name}", *words, *quick)
        assert status == 0, err
        rows.append([line for line in out.splitlines() if "distilled" in line or "teacher" in line])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2
