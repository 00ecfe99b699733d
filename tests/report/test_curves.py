import numpy as np
import pytest

from limbeck.reporting.page.curves import BINS, curves, over_seeds
from limbeck.training.validations import Validated, append


def write(folder, version, text):
    path = folder / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_later_versions_win_where_two_have_a_step(tmp_path):
    write(tmp_path, 0, "epoch,step,train/kl,queries/s\n0,9,4.0,1\n0,19,3.0,1\n0,29,99.0,1\n")
    write(tmp_path, 2, "dev/ndcg@10,epoch,step,train/kl\n,0,29,2.0\n0.5,0,29,\n,0,39,1.0\n")
    write(tmp_path, 10, "step,train/kl\n39,0.5\n")  # the tenth comes after the second
    read = curves(tmp_path)
    assert set(read) == {"train/kl", "dev/ndcg@10"}
    steps, values = read["train/kl"]
    assert (steps.tolist(), values.tolist()) == ([10, 20, 30, 40], [4.0, 3.0, 2.0, 0.5])
    assert [each.tolist() for each in read["dev/ndcg@10"]] == [[30], [0.5]]


def test_the_last_validation_is_at_the_end_of_the_training(tmp_path):
    for step in (20, 40, 60):
        append(tmp_path, Validated(step, 60, 0.5))
    write(tmp_path / "metrics", 0, "dev/ndcg@10,step,train/kl\n0.1,19,\n0.2,39,\n,59,1.0\n0.3,60,\n")
    read = curves(tmp_path / "metrics")
    assert read["dev/ndcg@10"][0].tolist() == [20, 40, 60]
    assert read["train/kl"][0].tolist() == [60]


def test_without_files_there_are_no_curves(tmp_path):
    assert curves(tmp_path / "absent") == {}
    write(tmp_path, 0, "")
    assert curves(tmp_path) == {}


def test_what_is_not_finite_is_left_out(tmp_path):
    write(tmp_path, 0, "step,train/kl\n1,nan\n2,1.0\n3,inf\n")
    steps, values = curves(tmp_path)["train/kl"]
    assert (steps.tolist(), values.tolist()) == ([3], [1.0])


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    write(tmp_path, 0, "step,train/kl,train/loss\n1,2.0,3.0\n2,1.0,2.3")
    assert curves(tmp_path)["train/loss"][0].tolist() == [2]


def test_a_cell_that_is_no_number_is_left_out(tmp_path):
    write(tmp_path, 0, "step,train/kl\n1,1.0\n2,x\n?,3.0\n4\n5,2.0\n")
    assert curves(tmp_path)["train/kl"][0].tolist() == [2, 6]


def test_mean_and_deviation_are_over_the_seeds_that_have_a_step():
    steps, mean, spread = over_seeds([(np.array([1, 2]), np.array([1.0, 2.0])), (np.array([1]), np.array([3.0]))])
    assert steps.tolist() == [1, 2]
    assert mean.tolist() == [2.0, 2.0]
    assert spread[0] == pytest.approx(np.std([1, 3], ddof=1))
    assert np.isnan(spread[1])


def test_long_curves_are_averaged_over_equal_spans():
    steps = np.arange(10, 10 * 4001, 10)
    seeds = [(steps, steps + offset) for offset in (-1.0, 1.0)]
    binned, mean, spread = over_seeds(seeds)
    assert len(binned) == BINS
    assert np.allclose(mean, binned)  # the mean of a straight line is the line at the mean
    assert np.allclose(spread, np.sqrt(2))
    assert np.ptp(np.diff(binned)) <= 20
