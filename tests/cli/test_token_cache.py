"""Runs and commands tokenise a collection once among them."""

import json


def kept(root):
    found = {path.parent: path.stat().st_mtime_ns for path in root.glob("tokens/*/meta.json")}
    roles = sorted(json.loads((folder / "meta.json").read_text())["inputs"]["role"] for folder in found)
    return found, roles


def test_runs_share_kept_tokens(limbeck, tmp_path):
    root = tmp_path / "own"

    def train(*words):
        status, _, err = limbeck("train", f"paths.cache={root}", "loss=[kl]", "teacher=synthetic", *words)
        assert status == 0, err
        return err

    said = train("seed=1", "sampler.workers=1")
    assert "documents of synthetic: 200 texts, " in said
    first, roles = kept(root)
    assert roles == ["document", "query"]
    assert "texts/s" not in train("seed=2")
    assert "texts/s" not in train("seed=1", "student=cross_encoder")
    world = [f"data.world.{name}" for name in ("documents=200", "topics=6", "train=60", "dev=10", "test=20")]
    tiny = ["backbone.width=16", "backbone.layers=1", "backbone.heads=2", "backbone.untrained=true"]
    status, _, err = limbeck("index", *world, *tiny, f"paths.cache={root}", "out=index", small=False)
    assert status == 0, err
    assert "encoded 200 of 200 documents" in err
    assert kept(root)[0] == first


def test_few_candidates_are_tokenised_as_they_come(limbeck, tmp_path):
    root = tmp_path / "own"
    words = ["loss=[kl]", "teacher=synthetic", "student=cross_encoder", "trainer.steps=1", "eval.depth=1"]
    status, _, err = limbeck("train", f"paths.cache={root}", *words, "eval.start=false", "eval.dev_depth=1")
    assert status == 0, err
    assert "of 200 documents of synthetic are needed; they are tokenised on the fly" in err
    assert kept(root)[1] == []
