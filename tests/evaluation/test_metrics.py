import ir_measures
import numpy as np
import pytest

from limbeck.evaluation.metrics import check_metrics, evaluate, means
from limbeck.evaluation.runs import cut, read_run, write_run
from limbeck.types import Ranking, order

PAIRS = {"ndcg@10": "nDCG@10", "map": "AP", "recall@100": "R@100", "mrr": "RR", "precision@5": "P@5"}


def trec_eval(qrels, run, metrics):
    """The oracle: the original trec_eval through ir-measures."""
    flat = [ir_measures.Qrel(q, d, g) for q, judged in qrels.items() for d, g in judged.items()]
    scored = [
        ir_measures.ScoredDoc(q, d, float(s))
        for q, (ids, scores) in run.items()
        for d, s in zip(ids, scores, strict=True)
    ]
    wanted = {name: ir_measures.parse_measure(PAIRS[name]) for name in metrics}
    found = {name: dict.fromkeys(qrels, 0.0) for name in metrics}
    for value in ir_measures.pytrec_eval.iter_calc(list(wanted.values()), flat, scored):
        name = next(name for name, measure in wanted.items() if measure == value.measure)
        found[name][value.query_id] = value.value
    return found


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "heavy ties"])
def test_equals_trec_eval_query_by_query(ties):
    rng = np.random.default_rng(3)
    qrels, run = {}, {}
    for q in range(40):
        judged = rng.choice(200, 30, replace=False)
        qrels[f"q{q}"] = {f"d{d}": int(rng.integers(0, 4)) for d in judged} | {f"d{judged[0]}": 1}
        if q % 10:  # every tenth judged query is missing from the run
            found = [f"d{d}" for d in rng.choice(200, 120, replace=False)]
            scores = rng.integers(0, 4, 120) if ties else rng.normal(size=120)
            run[f"q{q}"] = order(found, scores)
    run["unjudged"] = Ranking(["d1"], np.array([1.0], np.float32))
    metrics = list(PAIRS)
    ours, theirs = evaluate(qrels, run, metrics), trec_eval(qrels, run, metrics)
    for metric in metrics:
        assert ours[metric].keys() == theirs[metric].keys()
        for query in qrels:
            assert ours[metric][query] == pytest.approx(theirs[metric][query], abs=1e-9), (metric, query)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bm25.dl19", 0.5058), ("tasb.dl19", 0.7210), ("spladepp.dl20", 0.7197), ("ada2.dl20", 0.6759)],
)
def test_known_figures_of_real_systems(shared, name, expected):
    split = "dev-full" if name.endswith("19") else "test-full"
    qrels = {}
    for line in (shared / "msmarco-dl" / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    run = read_run(shared / "msmarco-dl" / "runs" / f"{name}.trec")
    assert round(means(evaluate(qrels, run, ["ndcg@10"]))["ndcg@10"], 4) == expected


def test_a_score_that_is_no_number_names_query_and_document():
    run = {"q": Ranking(["a", "b"], np.array([1.0, np.nan], np.float32))}
    with pytest.raises(ValueError, match="document b for query q is nan"):
        evaluate({"q": {"a": 1}}, run, ["ndcg@10"])


def test_edges():
    assert evaluate({"q": {"a": 1}}, {}, ["mrr"]) == {"mrr": {"q": 0.0}}
    assert evaluate({"q": {"a": 1}}, {"q": Ranking([], np.empty(0))}, ["mrr"]) == {"mrr": {"q": 0.0}}
    with pytest.raises(ValueError, match="no judged queries"):
        evaluate({}, {}, ["mrr"])
    with pytest.raises(ValueError, match="'ndgc@10', which ranx does not know"):
        check_metrics(["ndgc@10"])
    with pytest.raises(ValueError, match="cut-off"):
        check_metrics(["ndcg@ten"])


def test_order_is_trec_evals():
    ranking = order(["a", "c", "b", "d"], np.array([1.0, 2.0, 2.0, 0.5]))
    assert ranking.ids == ["c", "b", "a", "d"]
    assert order(["a", "c", "b", "d"], np.array([1.0, 2.0, 2.0, 0.5]), 1).ids == ["c"]
    rng = np.random.default_rng(0)
    ids, scores = [f"d{i}" for i in range(50)], rng.integers(0, 5, 50)
    for depth in (1, 7, 49, 50, 80):
        assert order(ids, scores, depth).ids == order(ids, scores).ids[:depth]


def test_run_files_round_trip(tmp_path):
    rng = np.random.default_rng(1)
    run = {f"q{i}": order([f"d{j}" for j in range(9)], rng.normal(size=9)) for i in range(3)}
    write_run(tmp_path / "a.trec", run, "tag")
    again = read_run(tmp_path / "a.trec")
    assert again.keys() == run.keys()
    for query in run:
        assert again[query].ids == run[query].ids
        np.testing.assert_array_equal(again[query].scores, run[query].scores)
    assert cut(again, 2)["q0"].ids == run["q0"].ids[:2]
    assert (tmp_path / "a.trec").read_text().splitlines()[0].split()[3] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [("q Q0 d 1 x t\n", ":1: expected six"), ("q Q0 d 1 2 t\nq Q0 d 2\n", ":2: expected six"),
     ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", ":2: document d stands twice for query q")],
)  # fmt: skip
def test_bad_run_files_name_the_line(tmp_path, text, message):
    (tmp_path / "bad.trec").write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.trec{message}"):
        read_run(tmp_path / "bad.trec")
