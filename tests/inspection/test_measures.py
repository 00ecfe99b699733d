"""Vectorised measures against plain loops and scipy."""

import time
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import limbeck.inspection.measures as module
from limbeck.analysis.segments import Segments
from limbeck.data.pool import Pool
from limbeck.inspection.entropy import Softmax
from limbeck.inspection.measures import CUTOFFS, Measures, choose, measure


@pytest.fixture
def ragged():
    """Lists of 1 to 130 documents with ties, missing and infinite scores, ranks behind the list, no positives."""
    generator = np.random.default_rng(7)
    lengths = [1, 2, 3, 130, 7, 60, 12, 5, *generator.integers(1, 40, 40).tolist()]
    scores, ranks, labels = [], [], []
    for number, length in enumerate(lengths):
        values = generator.normal(size=length).round(1)
        values[generator.random(length) < 0.15] = np.nan
        scores.append(values if number != 4 else np.full(length, 2.5))
        order = generator.permutation(length) + 1
        order[order > 0.8 * length] = length + 1
        ranks.append(order if number != 5 else np.zeros(length))
        labels.append(generator.random(length) < (0.2 if number != 6 else 0.0))
    scores[3][5], scores[7][:] = np.inf, np.nan
    return Pool(
        query_ids=[f"q{i}" for i in range(len(lengths))],
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        document_ids=pa.array([f"d{i}" for i in range(sum(lengths))]),
        labels=np.concatenate(labels).astype(np.int16),
        ranks=np.concatenate(ranks).astype(np.int32),
        scores=np.concatenate(scores).astype(np.float32),
    )


def one(scores, ranks, positive):
    """Measure one list by loops."""
    kept = np.isfinite(scores)
    scores, ranks, positive = scores[kept].astype(float), ranks[kept], positive[kept]
    n = len(scores)
    nan = float("nan")
    compared = n > 0 and ranks.min() < ranks.max()
    varies = n > 0 and scores.min() < scores.max()
    by_teacher = sorted(range(n), key=lambda i: (-scores[i], i))
    by_rank = sorted(range(n), key=lambda i: (ranks[i], -scores[i], i))
    found = {
        "scored": n,
        "minimum": min(scores, default=nan),
        "maximum": max(scores, default=nan),
        "std": float(np.std(scores)) if n else nan,
        "tied": float(np.mean([sum(scores == s) > 1 for s in scores])) if n else nan,
        "chance": float(np.mean(positive)) if n else nan,
        "teacher_rank": nan,
        "first_stage_rank": nan,
        "spearman": stats.spearmanr(-scores, ranks).statistic if compared and varies else nan,
        "same_order": nan,
        "overlap": [nan] * len(CUTOFFS),
        "top": [*(float(scores[i]) for i in by_teacher[:5]), *[nan] * 5][:5],
    }
    if positive.any():
        best = max(s for s, p in zip(scores, positive, strict=True) if p)
        found["teacher_rank"] = 1 + sum(not p and s >= best for s, p in zip(scores, positive, strict=True))
        if compared:
            first = min(r for r, p in zip(ranks, positive, strict=True) if p)
            found["first_stage_rank"] = 1 + sum(not p and r <= first for r, p in zip(ranks, positive, strict=True))
    if compared and varies and n >= 3:
        pairs = [(i, j) for i in range(n) for j in range(n) if ranks[i] < ranks[j]]
        found["same_order"] = float(all(scores[i] >= scores[j] for i, j in pairs))
    if compared and varies:
        found["overlap"] = [len({*by_teacher[:k]} & {*by_rank[:k]}) / k if n > k else nan for k in CUTOFFS]
    return found


def test_the_measures_are_those_of_loops(ragged):
    measures = measure(ragged)
    for query in range(len(ragged)):
        rows = ragged.rows(query)
        expected = one(ragged.scores[rows], ragged.ranks[rows], ragged.labels[rows] > 0)
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(measures, name)[query], value, rtol=1e-9, err_msg=f"{name} of {query}")
    for name in ("teacher_rank", "first_stage_rank", "spearman", "same_order", "std"):
        values = getattr(measures, name)
        assert np.isnan(values).any(), name
        assert len(set(values[~np.isnan(values)])) >= 2 or name == "same_order"
    assert not np.isnan(measures.overlap).all(axis=0).any()


def test_equal_order_is_found_with_ties_on_both_sides(pool):
    lists = [[5, 4, 4, 1], [5, 4, 4, 1], [5, 4, 4, 1], [1, 1, 1], [2, 1]]
    ranks = [[1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 3, 4], [1, 2, 3], [1, 2]]
    assert np.array_equal(
        measure(pool(lists, ranks=ranks)).same_order, [1, 1, 0, np.nan, np.nan], equal_nan=True
    )  # fmt: skip


def test_blocks_change_nothing(ragged, monkeypatch):
    whole = measure(ragged)
    monkeypatch.setattr(module, "_BLOCK", 50)
    parts = measure(ragged)
    for item in fields(Measures):
        np.testing.assert_array_equal(getattr(whole, item.name), getattr(parts, item.name))


def test_a_sample_is_spread_evenly_and_measured_as_in_the_whole(ragged):
    sample = measure(ragged, 10)
    assert len(sample.queries) == len(set(sample.queries.tolist())) == 10
    assert np.diff(sample.queries).max() <= 5
    np.testing.assert_array_equal(sample.std, measure(ragged).std[sample.queries])
    assert choose(ragged, 1000).tolist() == list(range(len(ragged)))


def test_segments_with_empty_lists():
    segments = Segments(np.array([0, 2, 0, 1, 0]))
    values = np.array([3.0, 1.0, 5.0])
    np.testing.assert_array_equal(segments.sum(values), [0, 4, 0, 5, 0])
    np.testing.assert_array_equal(segments.max(values), [np.nan, 3, np.nan, 5, np.nan])
    np.testing.assert_array_equal(segments.mean(values), [np.nan, 2, np.nan, 5, np.nan])
    assert segments.positions(segments.order(values)).tolist() == [2, 1, 1]
    assert len(Segments(np.array([], dtype=int)).sum(np.array([]))) == 0


@pytest.mark.parametrize("temperature", [1e-3, 0.3, 1.0, 20.0, 1e6])
def test_entropy_is_scipys(ragged, temperature):
    softmax = Softmax(ragged)
    found, position = softmax.at(temperature), 0
    for query in range(len(ragged)):
        scores = ragged.scores[ragged.rows(query)].astype(float)
        scores = scores[np.isfinite(scores)]
        if len(scores) < 2 or scores.min() == scores.max():
            continue
        p = np.exp((scores - scores.max()) / temperature)
        p /= p.sum()
        assert found.entropy[position] == pytest.approx(stats.entropy(p) / np.log(len(p)), abs=1e-9)
        assert found.largest[position] == pytest.approx(p.max())
        position += 1
    assert position == len(softmax)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.9), (5e4, 1e5)])
def test_the_temperature_found_has_the_entropy_asked_for(clean, pool, scale, shift):
    lists = np.split(clean().scores.astype(np.float64) * scale + shift, 60)
    softmax = Softmax(pool(lists))
    for entropy in (0.3, 0.5, 0.9):
        assert softmax.at(softmax.temperature(entropy)).median == pytest.approx(entropy, abs=0.03)


def test_a_quarter_of_a_million_pairs_take_no_longer_than_thirty_loops_over_the_lists(clean):
    """A fifth of a second, where one loop takes a fiftieth; the search for a temperature alone is dozens of loops."""
    large = clean(queries=2500, documents=100)
    begun = time.process_time()
    for scores in np.split(large.scores.astype(np.float64), 2500):
        weights = np.exp(scores - scores.max())
        -(weights * np.log(weights + 1)).sum() / np.sort(weights).sum()
    start = time.process_time()
    measure(large)
    Softmax(large).temperature()
    assert time.process_time() - start < 30 * (start - begun)
