"""Pipelines in `limbeck train`, for real: searched, re-ranked and fused; taken up; in sweeps; over any first stage."""

import json
import re
import shlex

import numpy as np
import pytest

from limbeck.config import home
from limbeck.evaluation.fusion import reciprocal_rank_fusion, weighted_sum
from limbeck.evaluation.runs import cut, read_run
from limbeck.experiment.distil import Experiment
from small import QUICK

ALL = "eval.pipeline=[search,rerank,fuse]"


def only_run(path, name="train"):
    (found,) = [folder for folder in (path / "runs" / name).iterdir() if folder.is_dir()]
    return found


def rows_of(folder):
    return {row["key"]: row for row in json.loads((folder / "result.json").read_text())["rows"]}


def runs_of(folder):
    return {path.name.split(".", 1)[1][:-5]: read_run(path) for path in (folder / "runs").glob("test.*.trec")}


def assert_same(one, other):
    assert {query: ranking.ids for query, ranking in one.items()} == {q: r.ids for q, r in other.items()}
    for query, ranking in one.items():
        np.testing.assert_allclose(ranking.scores, other[query].scores, rtol=1e-6)


def test_an_encoder_is_searched_reranks_and_is_fused_in_one_run(limbeck, tmp_path):
    """And which stages are reported changes no ranking: the trained weights and the search are the same."""
    depths = ["eval.depth=30", "eval.search_depth=50"]
    status, out, err = limbeck("train", *QUICK, ALL, *depths)
    assert status == 0, err
    run = only_run(tmp_path)
    rows, runs = rows_of(run), runs_of(run)
    stages = ["{}.search", "{}.rerank", "{}"]
    assert list(rows) == [
        "first_stage",
        "teacher.rerank",  # the synthetic teacher cannot search
        "teacher",
        *(stage.format("start") for stage in stages),
        *(stage.format("student") for stage in stages),
    ]
    assert set(runs) == set(rows)
    where = ["whole collection", "BM25 top 30", "BM25 top 30, RRF with BM25"]
    for system in ("start", "student"):
        assert [rows[stage.format(system)]["candidates"] for stage in stages] == where
        first = cut(runs["first_stage"], 30)
        assert_same(runs[system], reciprocal_rank_fusion([first, runs[f"{system}.rerank"]]))
        for query, ranking in runs[f"{system}.rerank"].items():
            assert set(ranking.ids) == set(first[query].ids)
            # One model, one score of a pair, whichever way it was ranked.
            searched = dict(zip(*runs[f"{system}.search"][query], strict=True))
            both = [(score, searched[d]) for d, score in zip(*ranking, strict=True) if d in searched]
            assert both
            np.testing.assert_allclose(*np.array(both).T, atol=1e-4)
        assert all(len(ranking.ids) == 50 for ranking in runs[f"{system}.search"].values())
    for row in rows.values():
        assert row["system"] in out
        assert (run / "per_query" / f"test.{row['key']}.parquet").exists()
    assert len({row["system"] for row in rows.values()}) == len(rows)
    for name, pipeline, candidates in (("search", "auto", where[0]), ("rerank", "[rerank]", where[1])):
        status, _, err = limbeck(
            "train", *QUICK, f"eval.pipeline={pipeline}", *depths, f"name={name}", "eval.start=false"
        )
        assert status == 0, err
        alone = only_run(tmp_path, name)
        assert list(rows_of(alone)) == ["first_stage", "teacher", "student"]
        assert rows_of(alone)["student"]["candidates"] == candidates
        assert_same(runs_of(alone)["student"], runs[f"student.{name}"])


def test_a_cross_encoder_is_fused_by_a_weighted_sum(limbeck, tmp_path):
    words = ["eval/fusion=weighted", "eval.fusion.normalise=z", "eval.fusion.weights=[0.25,1.0]"]
    status, _, err = limbeck(
        "train", *QUICK, "student=cross_encoder", "eval.pipeline=[rerank,fuse]", *words, "eval.depth=20"
    )
    assert status == 0, err
    rows, runs = rows_of(only_run(tmp_path)), runs_of(only_run(tmp_path))
    assert rows["student"]["candidates"] == "BM25 top 20, weighted sum with BM25"
    first = cut(runs["first_stage"], 20)
    for system in ("teacher", "start", "student"):
        expected = weighted_sum([first, runs[f"{system}.rerank"]], [0.25, 1.0], normalise="z")
        assert {q: set(r.ids) for q, r in runs[system].items()} == {q: set(r.ids) for q, r in expected.items()}
        for query, ranking in runs[system].items():
            np.testing.assert_allclose(ranking.scores, expected[query].scores, atol=1e-5)


def test_an_encoder_that_teaches_goes_through_all_stages(limbeck, tmp_path):
    assert limbeck("train", *QUICK, "name=first", "eval.start=false", "eval.teacher=false")[0] == 0
    model = only_run(tmp_path, "first") / "model"
    status, _, err = limbeck(
        "train", *QUICK, ALL, "teacher=dense", f"teacher.backbone.model={model}", "eval.start=false"
    )
    assert status == 0, err
    rows = rows_of(only_run(tmp_path))
    assert list(rows)[1:4] == ["teacher.search", "teacher.rerank", "teacher"]
    trained = rows_of(only_run(tmp_path, "first"))["student"]
    assert rows["teacher.search"]["ndcg@10"] == pytest.approx(trained["ndcg@10"], abs=1e-6)


def test_stages_that_are_there_are_not_computed_again(limbeck, tmp_path, monkeypatch):
    """A run that fails in its last stage goes on with that stage alone."""
    from limbeck.evaluation.fusion import ReciprocalRankFusion
    from limbeck.experiment import engine

    calls = []
    for name in ("search_together", "rerank"):
        real = getattr(engine, name)
        monkeypatch.setattr(engine, name, lambda *a, _r=real, _n=name, **o: calls.append(_n) or _r(*a, **o))

    def broken(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ReciprocalRankFusion, "__call__", broken)
        words = [ALL, "eval.start=false", "eval.teacher=false"]
        status, _, _ = limbeck("train", *QUICK, *words)
        assert status != 0
    run = only_run(tmp_path)
    assert calls == ["search_together", "rerank"]
    assert set(runs_of(run)) == {"first_stage", "student.search", "student.rerank"}
    before = {path: path.stat().st_mtime_ns for path in (run / "runs").iterdir()}
    status, _, err = limbeck("train", *QUICK, *words)
    assert status == 0, err
    assert calls == ["search_together", "rerank"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list(rows_of(run)) == ["first_stage", "student.search", "student.rerank", "student"]


def test_a_student_reranks_what_another_student_found(limbeck, tmp_path):
    """Two students in a row: by run files of the first, or by its model."""
    assert limbeck("train", *QUICK, "name=finds", "eval.start=false", "eval.teacher=false")[0] == 0
    first = only_run(tmp_path, "finds")
    second = ["student=cross_encoder", "eval.start=false", "eval.teacher=false", "eval.depth=10"]
    second.append("eval.pipeline=[rerank,fuse]")
    found = f"candidates.backbone.model={first / 'model'}"
    status, _, err = limbeck(
        "train", *QUICK, *second, "candidates=dense", found, "candidates.name=student", "name=dense"
    )
    assert status == 0, err
    run = only_run(tmp_path, "dense")
    rows, runs = rows_of(run), runs_of(run)
    assert rows["first_stage"]["ndcg@10"] == pytest.approx(rows_of(first)["student"]["ndcg@10"], abs=1e-6)
    assert rows["student.rerank"]["candidates"] == "student top 10"
    assert rows["student"]["candidates"] == "student top 10, RRF with student"
    assert_same(runs["student"], reciprocal_rank_fusion([cut(runs["first_stage"], 10), runs["student.rerank"]]))


def test_a_sweep_shows_every_stage_of_every_run(limbeck, tmp_path):
    status, out, err = limbeck("train", *QUICK, "-m", "eval.pipeline=[search,rerank]", "name=swept", "seed=1,2")
    assert status == 0, err
    table, means = out.split("mean over seeds")
    for stage in ("search", "rerank"):
        assert table.count(f"student, distilled: {stage}") == 2
        assert f"student, start: {stage}" not in table  # they differ by seed
    assert table.count("whole collection") == 3  # both students' and the first stage's
    assert means.count("BM25 top 100") == means.count("whole collection") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["student=cross_encoder", "eval.pipeline=[search,fuse]"], "eval.pipeline has search"),
        (["eval.pipeline=[]"], "eval.pipeline is empty"),
        (["eval.pipeline=[search,fusion]"], "did you mean fuse"),
        (["eval.mode=rerank"], "eval.mode is no key of the configuration"),
        (["eval/fusion=weighted", "eval.fusion.normalise=max"], "eval.fusion.normalise must be one of"),
        (["eval.fusion.weights=[1,2,3]"], "eval.fusion.weights must be two numbers > 0"),
        (["eval.fusion.normalise=z"], "eval.fusion.normalise is no key"),
    ],
)
def test_senseless_pipelines_are_refused_before_anything_is_read(limbeck, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(Experiment, "run", lambda _: pytest.fail("begun"))
    status, _, err = limbeck("train", *words)
    assert status == 2
    assert message in err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.trec"))


def commands():
    text = (home() / "docs" / "howto" / "pipelines.md").read_text().replace("\\\n", " ")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_docs(command, limbeck):
    status, out, err = limbeck(*shlex.split(command)[1:], "--cfg", "job", small=False)
    assert status == 0, err
    assert "pipeline" in out
