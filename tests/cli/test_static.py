"""``backbone=static`` on the command line: trained, gone on with, refused where it does not fit."""

import json

import pytest

from small import TRAINING, WORLD


@pytest.fixture
def train(limbeck, cache, tmp_path):
    """Train on a static backbone; returns the status, what was said, and the rows."""

    def call(name, *words):
        given = [*WORLD, *TRAINING, f"paths.cache={cache}", f"name={name}", "loss=[kl]", "eval.teacher=false"]
        given += ["trainer.checkpoint_every=100", "trainer.validate_every=0", *words]
        status, _, err = limbeck("train", *given, small=False)
        found = [json.loads(path.read_text()) for path in tmp_path.glob(f"runs/{name}/*/result.json")]
        return status, err, {row["key"]: row for row in found[0]["rows"]} if found else {}

    return call


def test_a_static_student_learns_and_is_gone_on_with(train, limbeck, tmp_path):
    status, err, first = train("first", "backbone=static", "backbone.width=32", "optim.lr=0.1", "trainer.steps=30")
    assert status == 0, err
    assert first["student"]["ndcg@10"] > first["start"]["ndcg@10"]
    (folder,) = tmp_path.glob("runs/first/*")
    assert {path.name for path in (folder / "model").iterdir()} >= {"model.safetensors", "tokenizer.json"}
    words = ["student=saved", f"student.folder={folder}", "trainer.steps=1"]
    status, err, second = train("second", *words)
    assert status == 0, err
    assert second["start"]["ndcg@10"] == first["student"]["ndcg@10"]
    status, err, _ = train("third", *words, "backbone=saved", "backbone.layers=1")
    assert status == 2
    assert "backbone.layers is an option of a transformer" in err
    assert limbeck("export", f"run={folder}", "out=made", small=False)[0] == 0
    assert "AutoModel" not in (tmp_path / "made" / "README.md").read_text()
    status, err, again = train("again", "student=saved", "student.folder=made", "trainer.steps=1")
    assert status == 0, err
    assert again["start"]["ndcg@10"] == first["student"]["ndcg@10"]


def test_other_students_are_refused_before_anything_is_opened(train):
    status, err, _ = train("no", "backbone=static", "student=colbert", "data.world.documents=300")
    assert status == 2
    assert "student=colbert needs contextual token vectors" in err
    status, err, _ = train("no", "backbone=static", "trainer.compile=true")
    assert status == 2
    assert "trainer.compile: a static backbone has nothing to compile" in err
