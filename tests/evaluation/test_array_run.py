"""A run that is kept comes back as it was, one query at a time."""

import numpy as np
import pyarrow as pa
import pytest

from limbeck.evaluation import array_run
from limbeck.evaluation.array_run import ArrayRun, write
from limbeck.types import Ranking, order


def test_a_large_run_lies_in_a_file(monkeypatch):
    monkeypatch.setattr(array_run, "_DOCUMENTS", 10)
    rng = np.random.default_rng(0)
    run = {f"q{n}": order([f"d{i}" for i in rng.choice(50, 7, replace=False)], rng.random(7)) for n in range(20)}
    small = ArrayRun.of(run.items())
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(array_run, "_IN_MEMORY", 500)
    large = ArrayRun.of(run.items())
    assert pa.total_allocated_bytes() - before < 200
    assert len(large.batches) == len(small.batches) > 5
    for found in (large, small):
        assert list(found) == list(run)
        for (query, ranking), values in zip(found.items(), found.values(), strict=True):
            assert ranking.ids == values.ids == found[query].ids == run[query].ids
            np.testing.assert_array_equal(ranking.scores, run[query].scores)


def test_a_run_in_several_files_comes_back_as_from_a_trec_file(tmp_path):
    rng = np.random.default_rng(0)
    run = {
        f"q{n}": order([f"d{i}" for i in rng.choice(50, n % 7, replace=False)], rng.random(n % 7)) for n in range(20)
    }
    queries = list(run)
    for name, part in (("a", queries[:9]), ("b", queries[9:9]), ("c", queries[9:])):
        write(tmp_path / name, {query: run[query] for query in part})
    kept = ArrayRun.mapped([tmp_path / name for name in "abc"])
    found = [query for query in queries if run[query].ids]
    assert (list(kept), len(kept)) == (found, len(found))
    assert "q0" not in kept
    for query in reversed(found):
        assert kept[query].ids == run[query].ids
        assert kept[query].scores.dtype == np.float32
        np.testing.assert_array_equal(kept[query].scores, run[query].scores)
    with pytest.raises(KeyError):
        kept["q0"]
    kept["q1"].scores[:] = 0  # a copy: the file stays as it is
    np.testing.assert_array_equal(kept["q1"].scores, run["q1"].scores)
    write(tmp_path / "none", {"q": Ranking([], np.empty(0, np.float32))})
    assert not ArrayRun.mapped([tmp_path / "none"])
