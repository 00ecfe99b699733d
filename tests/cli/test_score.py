"""``limbeck score``: killed and given again, spread over processes, and what it is for: training from its store."""

import os
import random
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from language_models import save
from limbeck.experiment import devices
from limbeck.scores.store import ScoreStore
from limbeck.teachers.store import StoreTeacher
from small import QUICK

WORLD = [
    "data.world.documents=200",
    "data.world.topics=6",
    "data.world.train=60",
    "data.world.dev=10",
    "data.world.test=20",
    "accelerator=cpu",
]


@pytest.fixture
def teacher(limbeck, tmp_path):
    """Options of a teacher that was a student here: ``teacher("dense")``, ``teacher("cross_encoder")``."""

    def trained(kind):
        alone = ["eval.start=false", "eval.teacher=false", "eval.depth=1"]
        status, _, err = limbeck("train", f"name={kind}", f"student={kind}", "loss=[kl]", *QUICK, *alone)
        assert status == 0, err
        (model,) = tmp_path.glob(f"runs/{kind}/*/model")
        extra = ["teacher.student.pooling=mean"] if kind == "cross_encoder" else []
        return [f"teacher={kind}", f"teacher.backbone.model={model}", *extra]

    return trained


@pytest.fixture
def score(limbeck, cache, tmp_path):
    def call(*words):
        status, out, err = limbeck("score", *WORLD, f"paths.cache={cache}", *words, small=False)
        return status, out + err

    return call


def parts_of(store):
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in (store / "parts").glob("*.arrow")}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size", "kills"), [("cross_encoder", 30, 2), ("dense", 4, 1)])
def test_killed_at_random_moments_it_ends_with_the_same_store(
    score, teacher, cache, tmp_path, forked, kind, size, kills
):
    options = [*teacher(kind), "candidates.depth=50"]
    assert score("out=whole", f"part_size={size}", *options)[0] == 0
    whole = ScoreStore.open(tmp_path / "whole")
    store, rng, killed = tmp_path / "killed", random.Random(11), 0
    words = ["score", *WORLD, f"paths.cache={cache}", "out=killed", f"part_size={size}", *options]
    for _ in range(kills):
        process = forked.start(words, tmp_path)
        before = parts_of(store) if (store / "parts").is_dir() else {}
        wanted, waited = len(before) + rng.randrange(1, 4), time.monotonic()
        while len(parts_of(store)) < wanted and time.monotonic() < waited + 60:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.02)
        os.kill(process, signal.SIGKILL)
        assert forked.status(process) == -signal.SIGKILL, (tmp_path / "output").read_text()
        killed += 1
        after = parts_of(store)
        assert len(after) > len(before)
        assert {name: after[name] for name in before} == before  # none was scored again
    assert killed == kills
    before = parts_of(store)
    status, output = forked.run(words, tmp_path)
    assert status == 0, output
    assert f"resuming: {len(before)} of " in output
    found = ScoreStore.open(store)
    assert found.checksum == whole.checksum
    assert found.query_ids() == whole.query_ids()
    assert not (store / "parts").exists()


@pytest.mark.slow
def test_two_processes_make_the_store_of_one(score, forked, tmp_path, monkeypatch):
    """Of a language model, whose prompts and cache each of them has for itself."""
    monkeypatch.setattr(devices, "subprocess", SimpleNamespace(Popen=forked.Popen))
    save(tmp_path / "lm", "qwen3")
    options = ["teacher=causal_lm", "teacher.model=lm", "teacher.max_length=100", "candidates.depth=6"]
    assert score("out=one", "part_size=60", *options)[0] == 0
    status, output = score("out=two", "part_size=60", "devices=2", *options)
    assert status == 0, output
    assert ScoreStore.open(tmp_path / "two").checksum == ScoreStore.open(tmp_path / "one").checksum


def test_the_store_grows_by_splits_and_tells_where_it_comes_from(score, teacher, tmp_path):
    options = teacher("dense")
    status, output = score("out=store", *options)
    assert status == 0, output
    assert "pairs/s; checksum" in output
    train = ScoreStore.open(tmp_path / "store")
    assert (train.meta["kind"], train.meta["scale"]) == ("cosine", 20.0)
    assert "(cosine × 20)" in output
    assert train.meta["max_length"].startswith("query ")
    assert train.meta["dtype"] == "float32"
    assert train.meta["command"].startswith("limbeck score")
    status, output = score("out=store", "splits=[train,test]", *options)
    assert status == 0, output
    both = ScoreStore.open(tmp_path / "store")
    assert set(train.query_ids()) < set(both.query_ids())
    query = train.query_ids()[0]
    documents, scores, _ = train.ranking(query)
    np.testing.assert_array_equal(both.lookup(query, documents), scores)
    status, output = score("out=store", *options, "teacher.student.document_length=9")
    assert status != 0
    assert "the score store there has" in output
    assert "out=" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=s", "devices=0"], "devices must be >= 1"),
        (["out=s", "part_size=0"], "part_size must be >= 1"),
        (["out=s", "splits=[train,tets]"], "splits must be some of"),
        (["out=s", "teacher=none"], "teacher=none scores nothing"),
        (["teacher=synthetic"], "out"),
        (["out=s", "teacher=store", "teacher.path=nowhere"], "there is no score store here"),
        (["out=s", "teachr=dense"], "teachr"),
        (["out=s", "+loss=kl"], "loss is no key of the configuration"),
    ],
)
def test_mistakes_are_named(score, words, message):
    status, output = score(*words)
    assert status != 0
    assert message in output
    assert "Traceback" not in output


# -- training from a store ----------------------------------------------------------------------------------------


def test_training_from_the_store_is_training_from_the_teacher(score, limbeck, tmp_path):
    short = ["eval.start=false", "trainer.steps=4", "trainer.validate_every=0"]
    assert score("out=store", "splits=[train,test]")[0] == 0
    status, out, err = limbeck("train", "name=store", "teacher=store", "teacher.path=store", *short)
    assert status == 0, err
    status, direct, err = limbeck("train", "name=direct", *short)
    assert status == 0, err
    rows = [[line for line in text.splitlines() if "distilled" in line or "teacher" in line] for text in (out, direct)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2


def test_missing_scores_stop_the_training_or_are_dropped_and_told(score, limbeck, tmp_path):
    assert score("out=store", "candidates.depth=10")[0] == 0
    status, _, err = limbeck("train", "teacher=store", "teacher.path=store")
    assert status != 0
    assert "lacks" in err
    assert "teacher.missing=drop" in err
    status, out, err = limbeck(
        "train", "teacher=store", "teacher.path=store", "teacher.missing=drop", "eval.start=false", *QUICK
    )
    assert status == 0, err
    assert "they are dropped" in err
    assert "its own row is left out" in err  # the test queries were not scored
    assert "teacher  " not in out


def test_ranks_only_teach_losses_that_read_the_order(score, limbeck, tmp_path):
    assert score("out=store", "splits=[train,test]")[0] == 0
    words = ("train", "teacher=store", "teacher.path=store", "teacher.use=ranks")
    status, _, err = limbeck(*words)
    assert status != 0
    assert "loss.ckl needs teacher_scores" in err
    assert "ranknet" in err
    status, out, err = limbeck(*words, "loss=[ranknet]", "eval.start=false", *QUICK)
    assert status == 0, err
    assert "kl_to_teacher" not in err
    assert "teacher" in out
    store = ScoreStore.open(tmp_path / "store")
    query = store.query_ids()[0]
    documents, scores, _ = store.ranking(query)
    ranks = StoreTeacher(path=str(store.path), use="ranks").score([query], [documents])[0]
    assert (np.argsort(-ranks, kind="stable") == np.argsort(-scores, kind="stable")).all()


def test_a_store_of_the_model_spares_scoring_and_the_rest_is_computed(score, teacher, limbeck):
    options = teacher("dense")
    assert score("out=store", "candidates.depth=10", *options)[0] == 0
    quick = ["eval.start=false", *QUICK]
    given = [*options, "teacher.store=store", *quick]
    status, spared, err = limbeck("train", "name=spared", *given)
    assert status == 0, err
    status, whole, err = limbeck("train", "name=whole", *options, *quick)
    assert status == 0, err
    assert [line for line in spared.splitlines() if "teacher" in line] == [
        line for line in whole.splitlines() if "teacher" in line
    ]
    status, _, err = limbeck("train", "name=other", *given, "teacher.student.document_length=9")
    assert status != 0
    assert "the score store there has" in err
