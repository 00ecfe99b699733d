"""The runs of real systems on TREC DL 2019, as teachers over BM25's candidates and over their own."""

from dataclasses import replace

import numpy as np
import pytest

from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.qrels import read_qrels
from limbeck.evaluation.runs import read_run
from limbeck.inspection.findings import check, first_stage_scores
from limbeck.inspection.losses import LossView
from limbeck.inspection.measures import measure
from limbeck.inspection.trec import bare_pool

KL = LossView("kl", uses_scores=True, teacher_temperature=1.0)
MARGIN = LossView("margin_mse", uses_scores=True, raw_differences=True)
ORDER = LossView("ranknet", uses_scores=True)
PERMUTED = ["rankvicuna-bm25", "gpt35-bm25", "rankvicuna-tasb", "rankvicuna-ada2", "rankvicuna-spladepp"]


@pytest.fixture
def dl(shared):
    return shared / "msmarco-dl"


@pytest.fixture
def taught(dl):
    """Put a run over the candidates of another; documents without a score are left out, as by missing=drop."""

    def make(teacher, first_stage=None, year="dl19"):
        qrels = read_qrels(dl / "qrels" / ("dev-full.tsv" if year == "dl19" else "test-full.tsv"))
        first = None if first_stage is None else read_run(dl / "runs" / f"{first_stage}.{year}.trec")
        pool = bare_pool(read_run(dl / "runs" / f"{teacher}.{year}.trec"), qrels, first).pool
        return pool, None if first is None else first_stage_scores(pool, first)

    return make


def names(pool, objective, **options):
    return {finding.name for finding in check(pool, objective=objective, **options)}


@pytest.mark.parametrize("year", ["dl19", "dl20"])
@pytest.mark.parametrize("run", PERMUTED)
def test_permutations_are_caught(taught, run, year):
    pool, scores = taught(run, run.partition("-")[2], year)
    (finding,) = [f for f in check(pool, objective=[KL], first_stage_scores=scores) if f.name == "permuted_scores"]
    assert finding.message.startswith("100% of the teacher's scores are scores of the first stage")
    assert "teacher.use=ranks" in finding.remedy
    assert names(pool, [ORDER], first_stage_scores=scores) == set()


@pytest.mark.parametrize("run", ["tasb", "bm25_rm3", "colbert-partial", "ada2", "spladepp", "repllama"])
def test_real_scores_are_no_permutation(taught, run):
    pool, scores = taught(run, "bm25")
    assert names(pool, [ORDER], first_stage_scores=scores) == {"missing_scores"}
    found = names(pool, [KL], first_stage_scores=scores)
    assert found <= {"missing_scores", "near_flat", "near_one_hot"}


@pytest.mark.parametrize("run", ["tasb", "colbert-partial", "bm25"])
@pytest.mark.parametrize("objective", [[KL], [MARGIN]])
def test_scores_of_a_sensible_scale_are_clean(taught, run, objective):
    pool, _ = taught(run)
    assert names(pool, objective) == set()


def test_the_first_stage_itself_is_caught(taught):
    pool, scores = taught("bm25", "bm25")
    assert names(pool, [KL], first_stage_scores=scores) == {"ranks_of_first_stage"}


@pytest.mark.parametrize(
    ("run", "name", "low", "high"),
    [
        ("spladepp", "near_one_hot", 1e3, 1e4),
        ("repllama", "near_flat", 0.003, 0.03),
        ("ada2", "near_flat", 0.003, 0.03),
    ],
)
def test_the_temperature_for_real_scales(taught, run, name, low, high):
    pool, _ = taught(run)
    (finding,) = check(pool, objective=[KL])
    assert finding.name == name
    temperature = float(finding.remedy.split("teacher_temperature=")[1].split(" ")[0])
    assert low < temperature < high
    assert check(pool, objective=[replace(KL, teacher_temperature=temperature)]) == []


def test_cosines_under_margins(taught):
    pool, _ = taught("repllama")
    assert names(pool, [MARGIN]) == {"probability_scale", "raw_scale"}
    assert names(pool, [MARGIN], meta={"kind": "similarity"}) == {"raw_scale"}
    pool, _ = taught("spladepp")
    assert names(pool, [MARGIN]) == {"raw_scale"}


@pytest.mark.parametrize("first_stage", [None, "bm25"])
@pytest.mark.parametrize("run", ["tasb", "repllama", "spladepp"])
def test_distances_taken_for_similarities(taught, run, first_stage):
    pool, _ = taught(run, first_stage)
    assert "positives_rarely_first" not in names(pool, [ORDER])
    assert "positives_rarely_first" in names(replace(pool, scores=-pool.scores), [ORDER])


def test_positives_first_is_success_at_one(dl, taught):
    pool, _ = taught("tasb")
    measures = measure(pool)
    qrels = read_qrels(dl / "qrels" / "dev-full.tsv")
    of = means(evaluate(qrels, read_run(dl / "runs" / "tasb.dl19.trec"), ["hit_rate@1", "mrr"]))
    assert np.mean(measures.teacher_rank == 1) == pytest.approx(of["hit_rate@1"])
    assert len(pool) == 43


def test_qrels_of_both_kinds(tmp_path, dl):
    trec = tmp_path / "qrels.txt"
    beir = read_qrels(dl / "qrels" / "dev.tsv")
    trec.write_text("".join(f"{q} 0 {d} {g}\n" for q, judged in beir.items() for d, g in judged.items()))
    assert read_qrels(trec) == beir
