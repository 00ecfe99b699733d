"""What a user sees of a mistake: status 2, one message that names the key, no traceback, nothing begun."""

import pytest

CASES = {
    "misspelt key": (["loss.ckl.gama=3"], "loss.ckl.gama is no key of the configuration; did you mean gamma?"),
    "misspelt added key": (["+loss.ckl.gama=3"], "loss.ckl.gama is no key"),
    "key of another loss": (["loss=kl", "loss.kl.gamma=3"], "loss.kl.gamma is no key"),
    "unknown root key": (["sed=3"], "sed is no key of the configuration; did you mean seed?"),
    "unknown added root key": (["+sed=3"], "sed is no key of the configuration; did you mean seed?"),
    "unknown option": (["loss=ckll"], "loss=ckll does not exist; did you mean ckl"),
    "what there is": (["loss=ckll"], "ranknet, reverse_kl\n"),
    "unknown group": (["losss=ckl"], "losss is no"),
    "wrong type": (
        ["loss.ckl.gamma=high"],
        "loss.ckl.gamma: Value 'high' of type 'str' could not be converted to Float",
    ),
    "wrong type, whole": (["trainer.steps=1.5"], "trainer.steps: Value '1.5'"),
    "out of range": (["loss.ckl.gamma=1", "loss.ckl.alpha=2"], "loss.ckl.gamma must be > alpha"),
    "out of range, student": (["student.scale=0"], "student.scale must be > 0"),
    "not one of": (["student.pooling=max"], "student.pooling must be one of mean, cls, last, got 'max'"),
    "no loss": (["loss=[]"], "loss is missing; leave out loss=[]"),
    "loss without teacher": (
        ["teacher=none"],
        "loss.ckl needs teacher_scores, which this training does not have; choose",
    ),
    "required value": (["data=collection"], "data.collection must be given"),
    "unknown collection": (["data=collection", "data.collection=beir/nfcorpos"], "did you mean beir/nfcorpus"),
    "unknown metric": (["eval.metrics=[ndgc@10]"], "eval.metrics has 'ndgc@10'"),
    "broken override": (["loss.ckl.gamma=[1"], "loss.ckl.gamma=[1"),
    "not an override": (["gamma"], "gamma"),
    "foreign target": (["loss.ckl._target_=os.system"], "loss.ckl._target_: os.system is not allowed"),
    "a loss of a package that is not named": (
        ["loss=sharp_kl"],
        "LIMBECK_PACKAGES must name its package; it is not set",
    ),
    "a target of a package that is not named": (
        ["loss.ckl._target_=mylosses.Sharp"],
        "LIMBECK_PACKAGES must name its package; it is not set",
    ),
    "too long": (["student.document_length=400"], "student.document_length: 400 tokens do not fit the backbone"),
    "cross-encoder search": (
        ["student=cross_encoder", "eval.pipeline=[search]"],
        "eval.pipeline has search, but a student that scores pairs",
    ),
    "misspelt stage": (["eval.pipeline=[serch]"], "eval.pipeline has 'serch'"),
    "nothing to fuse": (["eval.pipeline=[fuse]"], "eval.pipeline begins with fuse"),
    "fusion out of range": (["eval.fusion.k=-1"], "eval.fusion.k must be >= 0"),
    "unknown fusion": (["eval/fusion=rff"], "eval/fusion=rff does not exist; did you mean rrf"),
    "online without a key": (["logger=wandb", "logger.mode=online"], "logger.mode is online, but there is no key"),
    "teacher of another world": (
        ["data=collection", "data.collection=FOLDER", "data.dev=null"],
        "works only with data=synthetic",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(case, limbeck, folder, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    words, message = CASES[case]
    small = not any(word.startswith("data=") for word in words)
    extra = [] if small else ["paths.cache=cache"]
    status, out, err = limbeck("train", *extra, *[word.replace("FOLDER", str(folder)) for word in words], small=small)
    assert status == 2, err
    assert message in err
    assert err.startswith("limbeck: ") or "\nlimbeck: " in err
    assert "Traceback" not in err + out
    assert not list(tmp_path.rglob("result.json"))


def test_verbs(limbeck):
    status, _, err = limbeck("trane", small=False)
    assert (status, "'trane' is no verb; did you mean train" in err) == (2, True)
    status, out, _ = limbeck("--version", small=False)
    assert status == 0
    assert out.strip().count(".") == 2


def test_debug_shows_the_traceback(limbeck):
    with pytest.raises(Exception, match="gama"):
        limbeck("train", "loss.ckl.gama=3", "--debug")
