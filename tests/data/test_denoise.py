"""Denoising equals a loop over queries, loses no query, and refuses what it cannot judge."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.data.denoise import TeacherMargin, denoise
from limbeck.data.pool import Pool


def pool(seed, low=-3.0, high=12.0, missing=0.0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, 40)
    labels, scores = [], []
    for length in lengths:
        positives = int(rng.integers(1, 4))
        labels += [int(rng.integers(1, 4)) if i < positives else 0 for i in range(length)]
        scores += rng.uniform(low, high, length).tolist()
    rows = int(lengths.sum())
    values = np.array(scores, dtype=np.float32)
    values[rng.random(rows) < missing] = np.nan
    return Pool(
        query_ids=[f"q{i}" for i in range(len(lengths))],
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        document_ids=pa.array([f"d{i}" for i in range(rows)], pa.string()),
        labels=np.array(labels, dtype=np.int16),
        ranks=rng.integers(1, 100, rows).astype(np.int32),
        scores=values,
    )


def by_loop(given, absolute, relative):
    """Rows to keep, in plain Python."""
    kept = []
    for i in range(len(given)):
        rows = range(int(given.offsets[i]), int(given.offsets[i + 1]))
        known = [float(given.scores[r]) for r in rows if given.labels[r] > 0 and given.scores[r] == given.scores[r]]
        for r in rows:
            score = float(given.scores[r])
            if given.labels[r] == 0 and known and score == score:
                if absolute is not None and score > max(known) - absolute:
                    continue
                if relative is not None and score > relative * max(known):
                    continue
            kept.append(r)
    return kept


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize(
    ("absolute", "relative"), [(0.0, None), (2.5, None), (None, 1.0), (None, 0.7), (1.0, 0.9), (1e6, None)]
)
def test_equals_a_loop(absolute, relative, missing):
    for seed in range(5):
        given = pool(seed, low=0.1, missing=missing)
        found, counts = denoise(given, absolute, relative)
        kept = by_loop(given, absolute, relative)
        assert found.document_ids.to_pylist() == [f"d{r}" for r in kept]
        for name in ("labels", "ranks", "scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(given, name)[kept])
        assert found.query_ids == given.query_ids  # none is lost
        assert found.offsets[-1] == len(kept)
        for i in range(len(given)):
            before, after = set(given.documents(i)), set(found.documents(i))
            assert after <= before
            positive = {
                d for d, label in zip(given.documents(i), given.labels[given.rows(i)], strict=True) if label > 0
            }
            assert positive <= after
        left = [(found.labels[found.rows(i)] == 0).sum() for i in range(len(found))]
        had = [(given.labels[given.rows(i)] == 0).sum() for i in range(len(given))]
        assert counts["negatives"] == len(given.labels) - len(kept)
        assert counts["queries"] == sum(a != b for a, b in zip(left, had, strict=True))
        assert counts["queries_left_without_negatives"] == sum(a == 0 < b for a, b in zip(left, had, strict=True))
        assert counts["unscored_negatives"] == int((np.isnan(given.scores) & (given.labels == 0)).sum())


def test_the_best_positive_counts_not_the_lowest():
    given = Pool(
        query_ids=["q"], offsets=np.array([0, 5]), document_ids=pa.array(list("abcde")),
        labels=np.array([1, 2, 0, 0, 0]), ranks=np.arange(1, 6), scores=np.array([1.0, 8.0, 9.0, 5.0, 4.9]),
    )  # fmt: skip
    assert denoise(given, absolute=3.0)[0].documents(0) == ["a", "b", "d", "e"]
    assert denoise(given, relative=0.62)[0].documents(0) == ["a", "b", "e"]
    kept, counts = denoise(given, absolute=8.0)
    assert kept.documents(0) == ["a", "b"]
    assert counts["queries_left_without_negatives"] == 1


def test_nothing_dropped_leaves_the_columns_where_they_are():
    given = pool(0)
    found, counts = denoise(given)
    assert found.document_ids is given.document_ids
    assert found.labels is given.labels
    assert counts["negatives"] == 0
    assert TeacherMargin()(given) is given
    far = replace(given, scores=np.where(given.labels > 0, 9.0, 1.0))
    found = TeacherMargin(absolute=8.0, relative=0.5)(far)
    assert found.document_ids is given.document_ids
    assert found.counts["denoised"]["negatives"] == 0


def test_what_cannot_be_judged_is_refused():
    given = pool(3, low=-9.0, high=-1.0)
    with pytest.raises(ConfigError, match=r"pool\.denoise\.relative.*query 'q\d+'.*use pool\.denoise\.absolute"):
        denoise(given, relative=0.9)
    denoise(given, absolute=0.5)  # a distance means the same wherever the scores lie
    bare = Pool(given.query_ids, given.offsets, given.document_ids, given.labels, given.ranks)
    with pytest.raises(ConfigError, match=r"pool\.denoise needs teacher scores"):
        TeacherMargin(absolute=1.0)(bare)
    for options, message in [({"absolute": -1.0}, r"denoise\.absolute"), ({"relative": 0.0}, r"denoise\.relative")]:
        with pytest.raises(ValueError, match=f"^{message} must be"):
            TeacherMargin(**options)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, -1], ids=["positive", "negative"])
def test_infinite_scores_are_refused_by_name(value, row):
    given = pool(3, missing=0.4)
    scores = given.scores.copy()
    scores[row] = value
    query, document = given.query_ids[row], given.document_ids[row].as_py()
    with pytest.raises(
        ConfigError, match=rf"1 teacher scores are infinite.* is {value} for query '{query}'.*'{document}'"
    ):
        denoise(replace(given, scores=scores), absolute=0.5)
