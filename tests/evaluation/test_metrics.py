import importlib.util
import inspect
import math
import re
import subprocess
import sys

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from limbeck.evaluation.metrics import check_metrics, evaluate, means
from limbeck.evaluation.sets import EvalSet
from limbeck.evaluation.spelling import NAMES, Spelt, spelt
from limbeck.types import Ranking, order


def test_a_score_that_is_no_number_names_query_and_document():
    run = {"q": Ranking(["a", "b"], np.array([1.0, np.nan], np.float32))}
    with pytest.raises(ValueError, match="document b for query q is nan"):
        evaluate({"q": {"a": 1}}, run, ["ndcg@10"])


def test_edges():
    assert evaluate({"q": {"a": 1}}, {}, ["mrr"]) == {"mrr": {"q": 0.0}}
    assert evaluate({"q": {"a": 1}}, {"q": Ranking([], np.empty(0))}, ["mrr"]) == {"mrr": {"q": 0.0}}
    assert evaluate({"q": {"a": 1}}, {"q": Ranking(["b"], np.ones(1, np.float32))}, []) == {}
    with pytest.raises(ValueError, match="no judged queries"):
        evaluate({}, {}, ["mrr"])
    with pytest.raises(ValueError, match="'ndgc@10', which ranx does not know; did you mean ndcg@10"):
        evaluate({"q": {"a": 1}}, {}, ["ndgc@10"])


def test_a_document_that_stands_twice_is_refused():
    """It would count twice; a file is refused with the line (test_runs.py)."""
    run = {"q": Ranking(["a", "b", "a"], np.array([3, 2, 1], np.float32))}
    with pytest.raises(ValueError, match="document a appears twice for query q"):
        evaluate({"q": {"b": 1}}, run, ["ndcg@10"])


def test_metrics_that_trec_eval_lacks():
    """By the formulas; ranks 2 and 4 are relevant, with grades 3 and 1."""
    run = {"q": Ranking(list("abcdef"), np.arange(6, 0, -1, dtype=np.float32))}
    found = evaluate({"q": {"b": 3, "d": 1, "a": 0, "z": 2}}, run, ["dcg@3", "dcg", "dcg_burges", "f1@3", "rbp.80"])
    values = {name: of["q"] for name, of in found.items()}
    assert values == pytest.approx({
        "dcg@3": 3 / math.log2(3),
        "dcg": 3 / math.log2(3) + 1 / math.log2(5),
        "dcg_burges": 7 / math.log2(3) + 1 / math.log2(5),
        "f1@3": 2 * (1 / 3) * (1 / 3) / (1 / 3 + 1 / 3),
        "rbp.80": 0.2 * (3 * 0.8 + 1 * 0.8**3),
    })  # fmt: skip
    assert means(found) == pytest.approx(values)


def test_names_are_those_of_ranx():
    from ranx.metrics import metric_switch

    assert set(re.findall(r'metric == "(.+)"', inspect.getsource(metric_switch))) == set(NAMES)
    assert all(callable(metric_switch(name)) for name in NAMES)


def test_spellings_are_read_as_ranx_reads_them():
    from ranx.meta.evaluate import extract_metric_and_params

    for name in NAMES:
        for metric in (name, f"{name}@7", f"{name}-l2", f"{name}@7-l3", f"{name}.95"):
            try:
                ours = spelt(metric)
            except ValueError:
                continue
            if check_metrics([metric]) != [metric]:  # another program's: recall.95 is recall@95
                continue
            theirs = extract_metric_and_params(metric)
            assert (ours.name, ours.persistence or ours.cutoff or 0, ours.level) == theirs
    assert spelt("recall@1000-l2") == Spelt("recall", 1000, 2, None)
    assert spelt("rbp.95") == Spelt("rbp", None, 1, 0.95)
    with pytest.raises(ValueError, match="invalid literal"):
        extract_metric_and_params("recall-l2@1000")  # what we refuse is no metric for ranx


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("ndgc@10", r"which ranx does not know; did you mean ndcg@10\?"),
        ("recal@5-l2", r"did you mean recall@5-l2\?"),
        ("P", "which needs a cut-off, as in precision@10"),
        ("ndcg_cut", "which needs a cut-off, as in ndcg@10"),
        ("P.5,10", "which has several cut-offs; name each: precision@5, precision@10"),
        ("gm_map", "which is not computed here; the nearest is map"),
        ("infAP", "which is not computed here; the nearest is map"),
        ("11pt_avg", "which is not computed here; the nearest is map"),
        ("iprec_at_recall_0.10", r"which is not computed here; the nearest is map\Z"),
        ("ERR@20", "which is not computed here; the nearest is ndcg@20"),
        ("set_relative_P", "which is not computed here; the nearest is precision"),
        ("set_F.0.5", "which is not computed here; the nearest is f1"),
        ("nDCG(gains={0:1})@10", "gains={0:1}; the nearest is ndcg@10"),
        ("nDCG(rel=2)@10", "; ndcg weighs documents by their grades and takes no relevance level"),
        ("nDCG@10-l2", "; ndcg weighs documents by their grades and takes no relevance level"),
        (
            "P(judged_only=True)@10",
            "which has an option that is not computed here, judged_only=True; the nearest is precision@10",
        ),
        ("Rprec@10", "; r-precision is computed on the whole ranking and takes no cut-off"),
        ("recall_0", "; the cut-off after @ must be a whole number >= 1, as in recall@10"),
        ("RBP(p=0.8)", r"did you mean rbp\?"),
        ("xyz", "its names are hits, hit_rate, precision"),
        ("", "its names are hits"),
        ("ndcg@ten", "cut-off after @ must be a whole number >= 1, as in ndcg@10"),
        ("ndcg@", "cut-off"),
        ("ndcg@0", "cut-off"),
        ("ndcg@-1", "cut-off"),
        ("ndcg@1.5", "cut-off"),
        ("ndcg@١", "cut-off"),
        ("recall-l2@1000", r"relevance level after -l must be .* comes last, as in recall@10-l2"),
        ("recall@10-l0", "relevance level"),
        ("recall@10-l", "relevance level"),
        ("r-precision-lx", "as in r-precision-l2"),
        ("ndcg@10-l2", "weighs documents by their grades and takes no relevance level"),
        ("bpref@10", "bpref is computed on the whole ranking and takes no cut-off"),
        ("r-precision@10", "takes no cut-off"),
        ("rbp", "rbp needs its persistence, as in rbp.95"),
        ("rbp@95", "rbp needs its persistence"),
    ],
)
def test_metrics_that_cannot_be_computed_are_refused(metric, message):
    with pytest.raises(ValueError, match=f"metrics has '.*{message}"):
        check_metrics(["map", metric])


TREC_EVAL = {
    "ndcg": "ndcg", "ndcg_cut_10": "ndcg@10", "map": "map", "map_cut_100": "map@100", "recip_rank": "mrr",
    "set_recall": "recall", "recall_100": "recall@100", "set_P": "precision", "P_10": "precision@10",
    "success_10": "hit_rate@10", "num_rel_ret": "hits", "set_F": "f1", "Rprec": "r-precision", "bpref": "bpref",
}  # fmt: skip
IR_MEASURES = {
    "nDCG@10": "ndcg@10", "nDCG": "ndcg", "AP": "map", "AP(rel=2)": "map-l2", "AP@100": "map@100", "RR": "mrr",
    "RR@10": "mrr@10", "RR(rel=2)@10": "mrr@10-l2", "P@10": "precision@10", "P(rel=2)@5": "precision@5-l2",
    "R@100": "recall@100", "Recall(rel=2)@50": "recall@50-l2", "Rprec(rel=2)": "r-precision-l2",
    "Success@1": "hit_rate@1", "Bpref": "bpref", "SetP": "precision", "SetR": "recall", "SetF": "f1",
    "NumRelRet": "hits",
}  # fmt: skip
OTHERS = {
    "ndcg_cut.10": "ndcg@10", "P.10": "precision@10", "recall.1000": "recall@1000", "map_cut.100": "map@100",
    "MRR@10": "mrr@10", "MAP": "map", "NDCG@10": "ndcg@10", "ndcg_at_10": "ndcg@10", "recall_at_100": "recall@100",
    "mrr_at_10": "mrr@10", "accuracy@1": "hit_rate@1", "P@10-l2": "precision@10-l2", "RR-l2": "mrr-l2",
    "nDCG(dcg='log2')@10": "ndcg@10", 'nDCG(dcg="exp-log2")@10': "ndcg_burges@10", "AP(rel=1)": "map",
    "nDCG(cutoff=10)": "ndcg@10", "P(rel=2, cutoff=5)": "precision@5-l2", "P(judged_only=False)@5": "precision@5",
    "set_F.1.0": "f1", "SetF(beta=1)": "f1", "ndcg_10": "ndcg@10",
}  # fmt: skip


def test_spellings_of_others_are_taken():
    for theirs, ours in (TREC_EVAL | IR_MEASURES | OTHERS).items():
        assert check_metrics([theirs]) == [ours]
        assert spelt(theirs) == spelt(ours)
    assert check_metrics(["P_10", "ndcg_cut_10", "precision@10", "nDCG@10"]) == ["precision@10", "ndcg@10"]


@pytest.fixture(scope="module")
def graded():
    rng = np.random.default_rng(5)
    qrels = {f"q{q}": {f"d{d}": int(grade) for d, grade in enumerate(rng.integers(0, 4, 40))} for q in range(5)}
    scores = {f"q{q}": {f"d{d}": float(score) for d, score in enumerate(rng.normal(size=60))} for q in range(5)}
    return qrels, scores, {query: order([*of], np.array([*of.values()])) for query, of in scores.items()}


def test_a_metric_is_the_same_number_by_the_name_that_trec_eval_has_for_it(graded):
    qrels, scores, run = graded
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_EVAL)).evaluate(scores)
    ours = evaluate(qrels, run, list(TREC_EVAL))
    for metric in TREC_EVAL:
        for query in qrels:
            assert ours[metric][query] == pytest.approx(theirs[query][metric], abs=1e-6), metric


def test_a_metric_is_the_same_number_by_the_name_that_ir_measures_has_for_it(graded):
    qrels, scores, run = graded
    measures = {name: ir_measures.parse_measure(name) for name in IR_MEASURES if name not in ("NumRelRet",)}
    found = ir_measures.iter_calc(measures.values(), qrels, scores)
    theirs = {(str(value.measure), value.query_id): value.value for value in found}
    ours = evaluate(qrels, run, list(measures))
    for name, measure in measures.items():
        for query in qrels:
            assert ours[name][query] == pytest.approx(theirs[str(measure), query], abs=1e-6), name


def test_settings_have_our_spelling(graded):
    qrels, _, run = graded
    assert EvalSet(collection="x", metrics=["P_10", "AP"]).metrics == ["precision@10", "map"]
    with pytest.raises(ValueError, match=r"^metrics has 'gm_map'"):
        EvalSet(collection="x", metrics=["gm_map"])
    assert evaluate(qrels, run, ["P_10"])["P_10"] == evaluate(qrels, run, ["precision@10"])["precision@10"]


def test_one_metric_is_no_list():
    with pytest.raises(ValueError, match=r"metrics must be a list, as \[map\]"):
        check_metrics("map")


def test_nothing_heavy_is_imported_before_something_is_evaluated():
    """Importing ranx takes two seconds, and torch takes one."""
    script = """
import sys
from limbeck.evaluation.metrics import check_metrics, evaluate
from limbeck.evaluation.qrels import read_qrels
from limbeck.evaluation.runs import read_run
check_metrics(["ndcg@10", "recall@1000-l2"])
print(*sorted({"ranx", "numba", "pandas", "torch", "ir_datasets"} & set(sys.modules)))
"""
    assert importlib.util.find_spec("ranx")
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "\n"


def test_order_is_trec_evals():
    ranking = order(["a", "c", "b", "d"], np.array([1.0, 2.0, 2.0, 0.5]))
    assert ranking.ids == ["c", "b", "a", "d"]
    assert order(["a", "c", "b", "d"], np.array([1.0, 2.0, 2.0, 0.5]), 1).ids == ["c"]
    assert order([], np.empty(0)).ids == []
    assert order(["a", "b"], np.array([1 + 1e-9, 1.0])).ids == ["b", "a"], "they tie in float32"
    nothing = order(["a", "b", "c"], np.array([1.0, np.nan, 2.0]), 1)
    assert nothing.ids == ["b"], "what is no number is not cut away: somebody must tell"


@pytest.mark.parametrize("kind", ["random", "falling", "not rising", "rising", "ties"])
def test_order_is_by_score_and_id(kind):
    rng = np.random.default_rng(0)
    for size in (1, 2, 50, 300):
        ids = [f"d{i}" for i in rng.permutation(size)]
        scores = rng.normal(size=size).astype(np.float32)
        if kind in ("ties", "not rising"):
            scores = scores.round(1)
        if kind in ("falling", "not rising"):
            scores = -np.sort(-scores)
        if kind == "rising":
            scores.sort()
        expected = sorted(zip(scores.tolist(), ids, strict=True), reverse=True)
        for depth in (1, 7, size - 1 or 1, size, size + 30, None):
            before = scores.copy()
            ranking = order(ids, scores, depth)
            assert ranking.ids == [document for _, document in expected[:depth]]
            assert ranking.scores.tolist() == [score for score, _ in expected[:depth]]
            ranking.scores[:] = 0
            np.testing.assert_array_equal(scores, before)
