"""The main job, for real: trained, shown, found again, begun anew, killed and taken up, spread and swept."""

import contextlib
import csv
import io
import json
import re
import shutil
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from limbeck.cli.main import main
from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.runs import read_run
from small import QUICK

STUDENT_ALONE = ["eval.start=false", "eval.teacher=false"]
"""Where nobody looks at the other rows."""


def only_run(path, name="train"):
    (found,) = [folder for folder in (path / "runs" / name).iterdir() if folder.is_dir()]
    return found


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small):
    """A run of all stages, with a cache of its own, and what it has shown; not to be changed."""
    place, shown = tmp_path_factory.mktemp("whole"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.chdir(place)
        patch.setenv("SECRET_TOKEN", "hunter2")
        patch.setattr(sys, "argv", ["limbeck", "train", *small, "paths.cache=cache"])
        main()
    return SimpleNamespace(run=only_run(place), cache=place / "cache", out=shown.getvalue())


def test_one_command_writes_a_whole_run_folder(whole):
    run, out = whole.run, whole.out
    result = result_of(run)
    assert [row["key"] for row in result["rows"]] == ["first_stage", "teacher", "start", "student"]
    for row in result["rows"]:
        assert f"{row['ndcg@10']:.4f}" in out
        again = read_run(run / "runs" / f"test.{row['key']}.trec")
        table = pq.read_table(run / "per_query" / f"test.{row['key']}.parquet").to_pydict()
        assert len(table["query_id"]) == row["queries"] == 20
        assert sum(table["ndcg@10"]) / 20 == pytest.approx(row["ndcg@10"])
        assert len(again) <= 20
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["world"]["documents"] == 200
    assert "${" not in (run / "config.yaml").read_text()
    environment = json.loads((run / "env.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["command"][:2] == ["limbeck", "train"]
    assert "training: 8 steps" in (run / "train.log").read_text()
    with next((run / "metrics").rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/ckl", "train/kl_to_teacher", "train/loss", "queries/s", "dev/ndcg@10"} <= set(rows[0])
    assert not (run / "error.txt").exists()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 8


def test_the_reported_figures_follow_from_the_run_files(whole):
    (world,) = [path.parent for path in (whole.cache / "synthetic").rglob("meta.json")]
    qrels: dict = {}
    for line in (world / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    for row in result_of(whole.run)["rows"]:
        found = read_run(whole.run / "runs" / f"test.{row['key']}.trec")
        assert means(evaluate(qrels, found, ["ndcg@10"]))["ndcg@10"] == pytest.approx(row["ndcg@10"])


def test_again_trains_nothing_and_force_gives_the_same_bits(limbeck, whole, tmp_path):
    shutil.copytree(whole.run, tmp_path / "runs" / "train" / whole.run.name)
    run = only_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    weights = load_file(run / "model" / "model.safetensors")
    status, out, err = limbeck("train")
    assert status == 0
    assert "is finished; force=true runs it again" in err
    assert "student, distilled" in out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    first = result_of(run)
    limbeck("train", "force=true")
    assert {path.name for path in run.parent.iterdir()} == {run.name}
    anew = load_file(only_run(tmp_path) / "model" / "model.safetensors")
    assert all(torch.equal(weights[name], anew[name]) for name in weights)
    assert result_of(run)["rows"] == first["rows"]
    limbeck("train", "seed=2", *STUDENT_ALONE)
    (other,) = [path for path in run.parent.iterdir() if path != run]
    assert not all(torch.equal(w, weights[n]) for n, w in load_file(other / "model" / "model.safetensors").items())


@pytest.mark.parametrize("student", ["dense", "cross_encoder"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_every_student_at_every_other_precision(limbeck, tmp_path, student, precision):
    words = [
        f"student={student}",
        f"trainer.precision={precision}",
        "trainer.accumulate=2",
        "trainer.steps=4",
        "eval.depth=10",
        "loss=[kl,margin_mse,info_nce]",
        *STUDENT_ALONE,
    ]
    status, _, err = limbeck("train", *words, "loss.info_nce.weight=0.1")
    assert status == 0, err
    result = result_of(only_run(tmp_path))
    where = {"dense": "whole collection", "cross_encoder": "BM25 top 10"}[student]
    assert result["rows"][-1]["candidates"] == where
    log = (only_run(tmp_path) / "train.log").read_text()
    for term in ("train/kl ", "train/margin_mse ", "train/info_nce "):
        assert term in log


def test_a_trained_student_is_a_backbone_and_a_teacher(limbeck, tmp_path):
    limbeck("train", "student=cross_encoder", "eval.depth=10", *QUICK, *STUDENT_ALONE)
    model = only_run(tmp_path) / "model"
    words = ["teacher=cross_encoder", f"teacher.backbone.model={model}"]
    status, _, err = limbeck("train", *words, "name=refused")
    assert status == 2
    assert "loads only the transformer from the folder: pooling is " in err
    more = ["teacher.student.pooling=mean", "name=second", "eval.start=false", "eval.depth=10"]
    status, _, err = limbeck("train", *words, *more, *QUICK)
    assert status == 0, err
    first = {row["key"]: row for row in result_of(only_run(tmp_path))["rows"]}
    second = {row["key"]: row for row in result_of(only_run(tmp_path, "second"))["rows"]}
    assert second["teacher"]["ndcg@10"] == pytest.approx(first["student"]["ndcg@10"], abs=1e-6)


def test_a_pretrained_student_trains_with_its_dropout(limbeck, whole, tmp_path, cache, small):
    model = whole.run / "model"
    weights, same = [], [word for word in small if not word.startswith("backbone.")]
    for dropout in ("0.0", "0.5"):
        words = ("backbone=pretrained", f"backbone.model={model}", f"backbone.dropout={dropout}", f"name=drop{dropout}")
        status, _, err = limbeck("train", *same, f"paths.cache={cache}", *words, *QUICK, *STUDENT_ALONE, small=False)
        assert status == 0, err
        assert "eval mode" not in err
        weights.append(load_file(only_run(tmp_path, f"drop{dropout}") / "model" / "model.safetensors"))
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_losses_without_a_teacher(limbeck, tmp_path):
    status, _, err = limbeck("train", "teacher=none", "loss=info_nce", *QUICK)
    assert status == 0, err
    assert [row["key"] for row in result_of(only_run(tmp_path))["rows"]] == ["first_stage", "start", "student"]


def test_a_failure_is_kept_and_mended_by_the_same_command(limbeck, whole, tmp_path, monkeypatch):
    import limbeck.evaluation.ranking as module

    def broken(*_, **__):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("limbeck.experiment.engine.search_together", broken)
    status, _, err = limbeck("train", *STUDENT_ALONE)
    assert status == 1
    assert "RuntimeError: the disk is full" in err
    run = only_run(tmp_path)
    assert "the disk is full" in (run / "error.txt").read_text()
    assert not (run / "result.json").exists()
    monkeypatch.setattr("limbeck.experiment.engine.search_together", module.search_together)
    status, _, _ = limbeck("train", *STUDENT_ALONE)
    assert status == 0
    assert not (run / "error.txt").exists()
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (run, whole.run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)  # trained once, then read from the checkpoint


@pytest.mark.slow
def test_two_processes_train_one_run_to_the_result_of_one(limbeck, tmp_path, forked, small, cache):
    """Lightning starts the second."""
    alone = ["sampler.batch_size=4", "sampler.refresh_ranks=3", *STUDENT_ALONE]
    limbeck("train", *alone, "paths.runs=alone")
    both = ["trainer=ddp_cpu", "sampler.batch_size=2", "sampler.refresh_ranks=3", *STUDENT_ALONE]
    words = ["train", *small, f"paths.cache={cache}", *both]
    status, output = forked.run(words, tmp_path, first=forked.as_program)
    assert status == 0, output
    run = only_run(tmp_path)  # one folder for both processes
    (other,) = (tmp_path / "alone" / "train").iterdir()
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (run, other))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)
    assert (run / "train.log").read_text().count("training: 8 steps of 4 queries") == 1
    assert (run / "runs" / "test.first_stage.trec").read_bytes() == (
        other / "runs" / "test.first_stage.trec"
    ).read_bytes()


def test_the_second_of_two_commands_waits_and_shows_the_result_of_the_first(limbeck, forked, small, cache, tmp_path):
    words = ["trainer.steps=60", "trainer.checkpoint_every=5", "trainer.validate_every=0", *STUDENT_ALONE]
    first = forked.start(["train", *small, f"paths.cache={cache}", *words], tmp_path)
    forked.wait_for(lambda: list(tmp_path.rglob("last.ckpt")))
    status, out, err = limbeck("train", *words)
    assert status == 0, err
    assert forked.status(first) == 0
    assert re.search(rf"waiting for the run \S+ \(held by process {first} on host \S+\)", err)
    assert "training: 60 steps" not in err
    assert "student, distilled" in out
    assert only_run(tmp_path)


def test_the_environment_of_the_user_is_not_recorded(whole):
    for path in whole.run.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes()
