"""The first stage and the teacher of finished runs as what students are compared with."""

import pytest

from limbeck.config import ConfigError
from limbeck.evaluation.per_query import write_per_query
from limbeck.reporting.results.finished import beside, gathered, members


@pytest.fixture
def swept(runs):
    """Two losses with two seeds."""
    return [runs.add(loss=loss, seed=seed) for loss in ("kl", "ckl") for seed in (1, 2)]


def _first_stage(folder, value):
    values = {metric: {f"q{number}": value for number in range(40)} for metric in ("ndcg@10", "mrr@10")}
    write_per_query(folder / "per_query" / "test.first_stage.parquet", values)


@pytest.mark.parametrize("name", ["sweep", "runs/sweep"])
def test_it_is_one_system_beside_those_of_a_sweep_by_name_or_folder(swept, runs, name, monkeypatch):
    monkeypatch.chdir(runs.root.parent)
    systems = members(name, key="compare", root=runs.root)
    first = beside(systems, "first_stage", key="baseline")
    (group,) = gathered([first, *systems], None).values()
    assert {name: len(seeds) for name, seeds in group.values["ndcg@10"].items()} == {
        "first stage": 1,
        "kl": 2,
        "ckl": 2,
    }
    assert group.values["ndcg@10"]["first stage"][0]["q0"] == 0.3


def test_different_ones_are_refused(swept, runs):
    _first_stage(swept[2], 0.25)
    with pytest.raises(ConfigError, match=r"baseline: .* have different ones on alpha"):
        beside(members("sweep", key="compare", root=runs.root), "first_stage", key="baseline")


def test_one_that_was_not_evaluated_is_refused(swept, runs):
    (swept[0] / "per_query" / "test.teacher.parquet").unlink()
    with pytest.raises(ConfigError, match=r"baseline: .* has no teacher on alpha: it was not evaluated there"):
        beside(members("sweep", key="compare", root=runs.root), "teacher", key="baseline")
