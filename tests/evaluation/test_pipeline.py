"""Fusion, what a pipeline may be, and what its stages make of given rankings."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from limbeck.evaluation.fusion import ReciprocalRankFusion, WeightedSum, reciprocal_rank_fusion, weighted_sum
from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.pipeline import Pipeline
from limbeck.evaluation.runs import cut, read_run
from limbeck.evaluation.settings import Evaluation
from limbeck.types import Ranking, order


def run_of(**queries):
    return {query: order(list(found), np.array(list(found.values()))) for query, found in queries.items()}


def scores_of(run, query="q"):
    return dict(zip(run[query].ids, run[query].scores.tolist(), strict=True))


def settings(fusion=None, **options):
    return Evaluation(fusion or ReciprocalRankFusion(), **{"metrics": ["ndcg@10"], **options})


# -- weighted sums -----------------------------------------------------------------------------------------------------

ONE = run_of(q={"a": 10.0, "b": 6.0, "c": 2.0}, only={"z": 3.0, "y": 1.0})
OTHER = run_of(q={"b": 1.0, "d": 0.0})


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [
        # What a ranking lacks gets its lowest: d 2 of the first, a and c 0 of the second.
        ("none", {"a": 20.0, "b": 15.0, "c": 4.0, "d": 4.0}),
        ("min_max", {"a": 2.0, "b": 1.0 + 3.0, "c": 0.0, "d": 0.0}),
        ("z", {"a": 2 * 1.5**0.5 - 3, "b": 3.0, "c": -2 * 1.5**0.5 - 3, "d": -2 * 1.5**0.5 - 3}),
    ],
)
def test_weighted_sums_equal_a_computation_by_hand(normalise, expected):
    fused = weighted_sum([ONE, OTHER], [2.0, 3.0], normalise=normalise)
    assert scores_of(fused) == pytest.approx(expected)
    assert fused["q"].ids[-2:] == ["d", "c"]  # a tie, by document id
    assert fused["only"].ids == ["z", "y"]


def test_min_max_sums_equal_ranx():
    import ranx

    rng = np.random.default_rng(5)
    runs = [
        run_of(**{f"q{q}": {f"d{d}": float(rng.normal()) for d in rng.choice(40, 12)} for q in range(6)})
        for _ in range(2)
    ]
    as_ranx = [ranx.Run({q: dict(zip(r.ids, map(float, r.scores), strict=True)) for q, r in x.items()}) for x in runs]
    params = {"weights": [0.3, 0.7]}
    theirs = ranx.fuse(runs=as_ranx, norm="min-max", method="wsum", params=params).to_dict()
    ours = weighted_sum(runs, [0.3, 0.7])
    for query, ranking in ours.items():
        assert scores_of(ours, query) == pytest.approx(theirs[query], abs=1e-6)
        assert list(ranking.scores) == sorted(ranking.scores, reverse=True)


@pytest.mark.parametrize("normalise", ["min_max", "z"])
def test_normalised_sums_do_not_depend_on_scale_and_shift(normalise):
    moved = {query: Ranking(ranking.ids, ranking.scores * 7 - 100) for query, ranking in ONE.items()}
    before, after = (weighted_sum([run, OTHER], normalise=normalise) for run in (ONE, moved))
    assert {q: r.ids for q, r in before.items()} == {q: r.ids for q, r in after.items()}
    assert scores_of(after) == pytest.approx(scores_of(before), abs=1e-5)


@pytest.mark.parametrize("normalise", ["min_max", "z"])
def test_equal_scores_decide_nothing(normalise):
    flat = run_of(q={"a": 4.0, "x": 4.0})
    fused = weighted_sum([flat, OTHER], normalise=normalise)
    alone = weighted_sum([OTHER], normalise=normalise)
    assert {d: scores_of(fused)[d] for d in ("b", "d")} == pytest.approx(scores_of(alone))
    assert weighted_sum([{"q": Ranking([], np.empty(0, np.float32))}, OTHER])["q"].ids == ["b", "d"]


def test_a_document_found_low_is_no_worse_than_one_not_found():
    for normalise in ("none", "min_max", "z"):
        fused = scores_of(weighted_sum([ONE, OTHER], normalise=normalise))
        assert fused["c"] == pytest.approx(fused["d"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReciprocalRankFusion(k=-1), "k must be >= 0"),
        (lambda: ReciprocalRankFusion(weights=[1.0]), "weights must be two numbers > 0"),
        (lambda: ReciprocalRankFusion(weights=[1.0, 0.0]), r"got \[1.0, 0.0\]"),
        (lambda: WeightedSum(weights=[1.0, float("nan")]), "weights must be two numbers > 0"),
        (lambda: WeightedSum(normalise="minmax"), "normalise must be one of none, min_max, z, got 'minmax'"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_fusions_refuse_what_is_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- what a pipeline may be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipeline", "alone", "not_alone"),
    [
        ("auto", ("search",), ("rerank",)),
        (["search", "rerank", "fuse"], ("search", "rerank", "fuse"), ("rerank", "fuse")),
        (["search", "fuse", "rerank"], ("search", "fuse", "rerank"), ("rerank", "fuse")),
        (["rerank"], ("rerank",), ("rerank",)),
    ],
)
def test_a_system_that_cannot_search_reranks(pipeline, alone, not_alone):
    evaluation = settings(pipeline=pipeline)
    assert evaluation.stages(searches=True) == alone
    assert evaluation.stages(searches=False) == not_alone
    evaluation.check(searches=True)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([], "pipeline is empty"),
        ("rerank", r"pipeline must be auto or a list of search, rerank, fuse, got 'rerank'; write \[rerank\]"),
        ("both", r"got 'both'; write"),
        (None, "pipeline must be auto or a list"),
        (["reranc"], "pipeline has 'reranc', which is none of search, rerank, fuse; did you mean rerank"),
        (["first"], "pipeline has 'first'"),
        ([1], "pipeline has 1, which"),
        (["search", "fuse", "fuse"], "pipeline has fuse twice"),
        (["fuse"], "pipeline begins with fuse, which has nothing to fuse"),
        (["fuse", "rerank"], "put search or rerank before it"),
    ],
)
def test_senseless_pipelines_are_refused(pipeline, message):
    with pytest.raises(ValueError, match=message):
        settings(pipeline=pipeline)


def test_a_cross_encoder_is_not_asked_to_search():
    settings(pipeline="auto").check(searches=False)
    settings(pipeline=["rerank", "fuse"]).check(searches=False)
    with pytest.raises(ValueError, match=r"pipeline has search.*choose auto, \[rerank\] or \[rerank,fuse\]"):
        settings(pipeline=["search", "fuse"]).check(searches=False)
    settings(dev_search=True).check(searches=True)
    with pytest.raises(ValueError, match=r"dev_search needs a student that .*: eval\.dev_search=false"):
        settings(dev_search=True).check(searches=False)


# -- stages ------------------------------------------------------------------------------------------------------------

FIRST = run_of(q={"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}, r={"x": 1.0})
FOUND = run_of(q={"e": 5.0, "c": 1.0}, r={"y": 2.0, "x": 1.0})
QRELS = {"q": {"c": 1}, "r": {"y": 1}}


def reversed_order(candidates):
    return {query: Ranking(ranking.ids[::-1], ranking.scores) for query, ranking in candidates.items()}


def test_each_stage_is_a_run_file_and_a_row(tmp_path):
    evaluation = settings(pipeline=["search", "rerank", "fuse"], depth=3)
    rows = Pipeline(evaluation, QRELS, FIRST, "BM25", tmp_path).rows(
        "student", "student", search=lambda: FOUND, rerank=reversed_order
    )
    assert [(row["key"], row["system"], row["candidates"]) for row in rows] == [
        ("student.search", "student: search", "whole collection"),
        ("student.rerank", "student: rerank", "BM25 top 3"),
        ("student", "student: fuse", "BM25 top 3, RRF with BM25"),
    ]
    runs = {row["key"]: read_run(tmp_path / "runs" / f"test.{row['key']}.trec") for row in rows}
    assert runs["student.search"]["q"].ids == ["e", "c"]
    assert runs["student.rerank"]["q"].ids == ["c", "b", "a"]
    expected = reciprocal_rank_fusion([cut(FIRST, 3), runs["student.rerank"]])
    assert {q: r.ids for q, r in runs["student"].items()} == {q: r.ids for q, r in expected.items()}
    for row in rows:
        own = evaluate(QRELS, runs[row["key"]], ["ndcg@10"])
        assert row["ndcg@10"] == means(own)["ndcg@10"]
        table = pq.read_table(tmp_path / "per_query" / f"test.{row['key']}.parquet").to_pydict()
        assert dict(zip(table["query_id"], table["ndcg@10"], strict=True)) == own["ndcg@10"]
    assert rows[0]["queries"] == 2


def test_fuse_takes_the_stage_before_it_and_the_fusion_that_is_asked_for(tmp_path):
    evaluation = settings(WeightedSum(weights=[1.0, 5.0]), pipeline=["search", "fuse", "rerank"], depth=2)
    pipeline = Pipeline(evaluation, QRELS, FIRST, "BM25", tmp_path)
    rows = pipeline.rows("student", "student", search=lambda: FOUND, rerank=reversed_order)
    assert [row["key"] for row in rows] == ["student.search", "student.fuse", "student"]
    assert rows[1]["candidates"] == "whole collection, weighted sum with BM25"
    fused = read_run(tmp_path / "runs" / "test.student.fuse.trec")
    expected = weighted_sum([cut(FIRST, 2), FOUND], [1.0, 5.0])
    assert scores_of(fused) == pytest.approx(scores_of(expected))
    assert set(fused["q"].ids) == {"a", "b", "e", "c"}
    assert read_run(tmp_path / "runs" / "test.student.trec")["q"].ids == ["b", "a"]  # of the first stage, not the fused


def test_what_is_there_is_not_computed_again(tmp_path):
    evaluation = settings(pipeline=["search", "rerank", "fuse"])
    asked = []

    def rows():
        pipeline = Pipeline(evaluation, QRELS, FIRST, "BM25", tmp_path)
        own = pipeline.rows(
            "start",
            "start",
            search=lambda: asked.append("search") or FOUND,
            rerank=lambda given: asked.append("rerank") or reversed_order(given),
        )
        return [pipeline.first_stage("BM25"), *own]

    before = rows()
    assert asked == ["search", "rerank"]
    assert rows() == before
    assert asked == ["search", "rerank"]
    (tmp_path / "runs" / "test.start.rerank.trec").unlink()
    assert rows() == before
    assert asked == ["search", "rerank", "rerank"]


def test_a_system_without_scores_is_left_out(tmp_path):
    evaluation = settings(pipeline=["search", "fuse"])
    pipeline = Pipeline(evaluation, QRELS, FIRST, "BM25", tmp_path)
    assert pipeline.rows("teacher", "teacher", search=None, rerank=lambda _: None) == []
    assert not (tmp_path / "runs").exists()
    rows = pipeline.rows("teacher", "teacher", search=None, rerank=reversed_order)
    assert [row["key"] for row in rows] == ["teacher.rerank", "teacher"]
