"""Regret: how far a loss stays below the best one, where that is most, and how surely."""

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.evaluation.per_query import read_per_query
from limbeck.reporting.results.markdown import markdown

LEVELS = {"kl": (0.6, 0.3), "ckl": (0.5, 0.45), "projected_kl": (0.59, 0.44)}
"""Loss → mean under a good teacher and under a bad one."""


@pytest.fixture
def ladder(runs):
    for loss, levels in LEVELS.items():
        for share, level in zip((0.0, 0.8), levels, strict=True):
            for seed in (1, 2, 3):
                extra = {"teacher": {"_target_": "teacher/synthetic", "wrong_share": share}}
                runs.add(loss=loss, seed=seed, level=level, extra=extra)
    return runs


def spec(**more):
    plain = {"labels": {"loss": {loss: loss for loss in LEVELS}}, "titles": {"ndcg@10": "ndcg@10"}}
    rows = {"rows": ["teacher.wrong_share", "loss"], "columns": {"alpha": ["ndcg@10"]}}
    return {**rows, "regret": "loss", **plain, **more}


def means(runs, loss, share):
    """Values per query, averaged over seeds, read again from the files of the runs."""
    found = []
    for path in sorted(runs.root.glob("*/*")):
        text = (path / "config.yaml").read_text()
        if f"wrong_share: {share}" in text and f"_target_: loss/{loss}\n" in text:
            found.append(read_per_query(path / "per_query" / "test.student.parquet", "ndcg@10"))
    assert len(found) == 3
    return np.mean([list(each.values()) for each in found], axis=0)


def test_regret_is_what_is_lost_to_the_best_of_a_setting_and_the_largest_counts(ladder, table):
    made = table(**spec())
    values = {(loss, share): means(ladder, loss, share).mean() for loss in LEVELS for share in (0.0, 0.8)}
    best = {share: max(values[loss, share] for loss in LEVELS) for share in (0.0, 0.8)}
    assert [each.system for each in made.regrets] == ["projected_kl", "ckl", "kl"]
    for each in made.regrets:
        own = [(best[share] - values[each.system, share]) / best[share] for share in (0.0, 0.8)]
        assert list(each.settings.values()) == pytest.approx(own)
        assert each.largest == pytest.approx(max(own))
        assert each.mean == pytest.approx(sum(own) / 2)
        assert each.where == f"{0 if own[0] > own[1] else 0.8}, alpha, ndcg@10"
        assert each.low <= each.largest <= each.high
    assert min(made.regrets[-1].settings.values()) == 0
    assert "| kl | 16.7 % |" in markdown(made)


def test_the_interval_is_that_of_a_bootstrap_over_queries_that_the_settings_share(ladder, table):
    of = {loss: np.stack([means(ladder, loss, share) for share in (0.0, 0.8)]) for loss in LEVELS}
    generator, drawn = np.random.default_rng(0), []
    for _ in range(2000):
        chosen = generator.integers(0, 40, 40)
        seen = {loss: values[:, chosen].mean(1) for loss, values in of.items()}
        best = np.max(list(seen.values()), axis=0)
        drawn.append(((best - seen["ckl"]) / best).max())
    (ours,) = (each for each in table(**spec()).regrets if each.system == "ckl")
    width = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
    assert ours.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.1 * width)
    assert ours.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.1 * width)


def test_a_setting_that_lacks_a_loss_is_left_out_and_named(ladder, table):
    ladder.add(
        loss="kl",
        collection="/data/beta",
        content="bbbb",
        extra={"teacher": {"_target_": "teacher/synthetic", "wrong_share": 0.8}},
    )
    made = table(**spec(columns={"alpha": ["ndcg@10"], "beta": ["ndcg@10"]}))
    assert all(list(each.settings) == ["0, alpha, ndcg@10", "0.8, alpha, ndcg@10"] for each in made.regrets)
    assert "left out: 0.8, beta, ndcg@10." in " ".join(made.notes)


def test_without_a_whole_setting_there_is_no_regret(runs, table):
    runs.add(loss="kl", extra={"teacher": {"_target_": "teacher/synthetic", "wrong_share": 0.0}})
    runs.add(loss="ckl", extra={"teacher": {"_target_": "teacher/synthetic", "wrong_share": 0.8}})
    with pytest.raises(ConfigError, match=r"table\.regret: no setting has a finished run of every loss; .* lacks"):
        table(**spec())


def test_regret_is_of_a_row_key(ladder, table):
    with pytest.raises(ConfigError, match=r"table\.regret must be one of the row keys \(teacher\.wrong_share, loss\)"):
        table(**spec(regret="seed"))
