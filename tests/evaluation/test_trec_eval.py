"""Every metric, query by query, beside the original trec_eval in C (pytrec_eval)."""

from itertools import product

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.qrels import read_qrels
from limbeck.evaluation.runs import read_run
from limbeck.types import Ranking

THEIRS = {
    "ndcg": "ndcg", "ndcg@10": "ndcg_cut_10", "ndcg@100": "ndcg_cut_100", "map": "map", "map@100": "map_cut_100",
    "mrr": "recip_rank", "mrr@10": "recip_rank", "recall": "set_recall", "recall@100": "recall_100",
    "recall@1000": "recall_1000", "precision": "set_P", "precision@10": "P_10", "hit_rate@10": "success_10",
    "hits": "num_rel_ret", "f1": "set_F", "r-precision": "Rprec", "bpref": "bpref",
}  # fmt: skip
GRADED = ("ndcg", "ndcg@10", "ndcg@100")
"""Without a relevance level."""
NAMES = [*THEIRS, *(f"{name}-l2" for name in THEIRS if name not in GRADED)]
RUNS = ("bm25.dl19", "repllama.dl20", "colbert-partial.dl19", "rankvicuna-tasb.dl20")
"""One of each tool: Anserini's, of rounded scores that tie, of a part of the queries, of re-ranked lists."""


def trec_eval(qrels, run):
    """Return metric → query → value of all NAMES; ``run`` is query → document → score."""
    found = {name: dict.fromkeys(qrels, 0.0) for name in NAMES}
    # Where all grades of a query are negative, pytrec_eval reads and writes beyond its memory, and may crash.
    judged = {query: grades for query, grades in qrels.items() if max(grades.values()) >= 0}
    for level, ending in ((1, ""), (2, "-l2")):
        evaluator = pytrec_eval.RelevanceEvaluator(judged, {*THEIRS.values()}, relevance_level=level)
        for query, values in evaluator.evaluate(run).items():
            for ours, theirs in THEIRS.items():
                if ours + ending in found:
                    found[ours + ending][query] = values[theirs]
    for name in ("mrr@10", "mrr@10-l2"):  # trec_eval's has no cut-off
        found[name] = {query: value if value > 1 / 10.5 else 0.0 for query, value in found[name].items()}
    return found


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for metric in ours:
        assert list(ours[metric]) == list(theirs[metric])
        # trec_eval divides in float32 for bpref, and nowhere else.
        tolerance = 1e-6 if metric.startswith("bpref") else 1e-9
        for query, value in theirs[metric].items():
            assert ours[metric][query] == pytest.approx(value, abs=tolerance, rel=0), (metric, query)


def ranked(run):
    """Hand documents over in the order they come in: ordering them is part of evaluating."""
    return {query: Ranking(list(of), np.array([*of.values()], np.float32)) for query, of in run.items()}


@pytest.mark.parametrize("name", RUNS)
def test_real_runs(shared, name):
    """Files, both sides with readers of their own."""
    path = shared / "msmarco-dl" / "runs" / f"{name}.trec"
    judged = shared / "msmarco-dl" / "qrels" / ("dev-full.tsv" if name.endswith("dl19") else "test-full.tsv")
    qrels = {}
    for line in judged.read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    with path.open() as file:
        theirs = trec_eval(qrels, pytrec_eval.parse_run(file))
    assert_equal(evaluate(read_qrels(judged), read_run(path), NAMES), theirs)


PUBLISHED = {
    "bm25": (0.5058, 0.4796), "bm25_rm3": (0.5216, 0.4896), "tasb": (0.7210, 0.6854), "ada2": (0.7035, 0.6759),
    "spladepp": (0.7308, 0.7197), "repllama": (0.7439, 0.7205),
}  # fmt: skip


BY_SCORES = {("repllama", "dl19"): 0.7384, ("repllama", "dl20"): 0.7195}
"""Where that is another order than the file's ranks: scores were rounded, and tie."""


@pytest.mark.parametrize(("system", "year"), list(product(PUBLISHED, ("dl19", "dl20"))))
def test_published_figures(shared, system, year):
    qrels = read_qrels(shared / "msmarco-dl" / "qrels" / ("dev-full.tsv" if year == "dl19" else "test-full.tsv"))

    def ndcg(use):
        run = read_run(shared / "msmarco-dl" / "runs" / f"{system}.{year}.trec", use=use)
        return round(means(evaluate(qrels, run, ["ndcg@10"]))["ndcg@10"], 4)

    expected = PUBLISHED[system][year == "dl20"]
    assert ndcg("ranks") == expected
    assert ndcg("scores") == BY_SCORES.get((system, year), expected)


def test_thousands_of_ties():
    """Scores 0 to 3, ids of several lengths and alphabets; queries missing, unjudged, and judged 0 throughout."""
    rng = np.random.default_rng(3)
    ids = [f"{prefix}{number}" for prefix in ("", "d", "D", "é", "0", "d-") for number in rng.integers(0, 10**6, 700)]
    ids = list(dict.fromkeys(ids))
    qrels, run = {}, {}
    for number in range(12):
        judged = rng.choice(len(ids), 150, replace=False)
        qrels[f"q{number}"] = {ids[i]: int(rng.integers(-1, 4)) for i in judged}
        if number % 4:
            listed = rng.permutation(len(ids))[: [3000, 900, 1][number % 3]]
            run[f"q{number}"] = {ids[i]: float(rng.integers(0, 4)) for i in listed}
    qrels["zeros"], run["zeros"] = {ids[0]: 0, ids[1]: 0}, {ids[0]: 1.0, ids[2]: 0.5}
    qrels["negative"], run["negative"] = {ids[0]: -1}, {ids[0]: 1.0}
    run["unjudged"] = {ids[0]: 1.0}
    ours = evaluate(qrels, ranked(run), NAMES)
    assert_equal(ours, trec_eval(qrels, run))
    assert all(ours[name]["q0"] == ours[name]["zeros"] == 0 for name in NAMES)
    assert all(0 < value < 1 for name, value in means(ours).items() if not name.startswith("hits"))


def test_scores_tie_in_float32(tmp_path):
    """What differs beyond float32 ties, and the greater id goes first; in doubles another document would be first."""
    path = tmp_path / "run.trec"
    scores = {"a": "16777217", "b": "16777216", "c": "0.1", "d": "0.10000000001", "e": "1e-50", "f": "0", "g": "-0.0"}
    path.write_text("".join(f"q Q0 {document} 1 {score} t\n" for document, score in scores.items()))
    assert read_run(path)["q"].ids == ["b", "a", "d", "c", "g", "f", "e"]
    qrels = {"q": {"b": 3, "c": 2, "e": 1, "x": 1}}
    ours = evaluate(qrels, read_run(path), NAMES)
    with path.open() as file:
        assert_equal(ours, trec_eval(qrels, pytrec_eval.parse_run(file)))
    assert ours["mrr"]["q"] == 1


SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 + 1e-6, -2.5, 3e38, 1e-45])
DOCUMENTS = st.sampled_from(["1", "10", "9", "a", "b", "é", "z", "zz"])
JUDGED = st.dictionaries(DOCUMENTS, st.integers(-2, 3), min_size=1)
LISTED = st.dictionaries(DOCUMENTS, SCORES, min_size=1)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from("pqr"), JUDGED, min_size=1), st.dictionaries(st.sampled_from("pqrs"), LISTED))
def test_small_worlds(qrels, run):
    assert_equal(evaluate(qrels, ranked(run), NAMES), trec_eval(qrels, run))


def test_exponential_gains():
    """``ndcg_burges`` is trec_eval's ndcg of judgments whose grades are the gains."""
    rng = np.random.default_rng(5)
    ids = [f"d{number}" for number in range(60)]
    qrels = {f"q{q}": {document: int(rng.integers(0, 4)) for document in ids[::2]} for q in range(5)}
    run = {f"q{q}": {document: float(rng.integers(0, 9)) for document in ids} for q in range(5)}
    gains = {query: {document: 2**grade - 1 for document, grade in of.items()} for query, of in qrels.items()}
    ours = evaluate(qrels, ranked(run), ["ndcg_burges@10", "ndcg_burges"])
    theirs = pytrec_eval.RelevanceEvaluator(gains, {"ndcg_cut_10", "ndcg"}).evaluate(run)
    for query in qrels:
        assert ours["ndcg_burges@10"][query] == pytest.approx(theirs[query]["ndcg_cut_10"], abs=1e-9)
        assert ours["ndcg_burges"][query] == pytest.approx(theirs[query]["ndcg"], abs=1e-9)
