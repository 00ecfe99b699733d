"""The jobs of a sweep: keys that a job does not have are left out, equal jobs merged, mistyped keys refused."""

import itertools

import pytest
from hydra.errors import HydraException

from limbeck.experiment.jobs import for_each_job, jobs
from limbeck.experiment.messages import explain


@pytest.fixture
def made(compose):
    """Return the jobs of a grid, written as it is typed."""

    def call(*words):
        grid = [[f"{key}={each}" for each in values.split(",")] for key, _, values in (w.partition("=") for w in words)]
        return jobs(list(itertools.product(*grid)), lambda each: compose("train", *each))

    return call


def test_keys_that_a_job_does_not_have_are_left_out_and_equal_jobs_merged(made):
    found = made("loss=kl,ckl", "loss.ckl.gamma=2,5")
    assert found.overrides == [["loss=kl"], ["loss=ckl", "loss.ckl.gamma=2"], ["loss=ckl", "loss.ckl.gamma=5"]]
    assert found.remark == ("loss.ckl.gamma is left out where it is no key (loss=kl); 4 combinations, 3 different jobs")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("student=dense,splade", "student.pooling=cls"),
            [["student=dense", "student.pooling=cls"], ["student=splade"]],
        ),
        (("teacher=none,synthetic", "teacher.noise=1"), [["teacher=none"], ["teacher=synthetic", "teacher.noise=1"]]),
        (
            ("teacher=synthetic,dense", "backbone@teacher.backbone=tiny"),
            [["teacher=synthetic"], ["teacher=dense", "backbone@teacher.backbone=tiny"]],
        ),
    ],
    ids=str,
)
def test_it_is_so_for_every_group(made, words, expected):
    assert made(*words).overrides == expected


def test_nothing_is_said_where_nothing_was_left_out(made):
    found = made("loss=kl,ckl", "seed=1")
    assert (len(found.overrides), found.remark) == (2, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("loss=kl,ckl", "loss.ckl.gama=2,5"), "loss.ckl.gama is no key of the configuration; did you mean gamma?"),
        (("loss=kl", "sed=1"), "sed is no key of the configuration; did you mean seed?"),
        (("loss=nonsense", "loss.kl.weight=1"), "loss=nonsense does not exist"),
    ],
    ids=str,
)
def test_what_no_job_has_is_refused(made, words, told):
    with pytest.raises(HydraException) as refused:
        made(*words)
    assert told in str(explain(refused.value))


def test_a_part_of_a_files_grid_may_have_none_of_its_keys(limbeck, tmp_path):
    (tmp_path / "own" / "sweeps").mkdir(parents=True)
    file = tmp_path / "own" / "sweeps" / "gammas.yaml"
    file.write_text(
        "# @package _global_\nname: gammas\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      loss: kl,ckl\n      loss.ckl.gamma: 2,5\n"
    )
    words = ["train", f"hydra.searchpath=[file://{tmp_path}/own]", "sweeps=gammas", "--dry-run"]
    status, out, err = limbeck(*words, "loss=kl")
    assert status == 0, err
    assert "gammas: 1 runs, 1 to run" in out
    file.write_text(file.read_text().replace("gamma:", "gama:"))
    status, _, err = limbeck(*words)
    assert (status, "loss.ckl.gama is no key" in err) == (2, True)


def test_what_has_one_value_waits_for_the_jobs():
    words = ["-m", "loss=kl,ckl", "loss.kl.weight=2", "loss.kl.schedules={weight: [0, 1]}", "+loss.kl.x=1", "seed=1"]
    expected = [
        "-m",
        "loss=kl,ckl",
        "loss.kl.weight=choice(2)",
        "loss.kl.schedules=choice({weight: [0, 1]})",
        *words[4:],
    ]
    assert for_each_job(words) == expected
    assert for_each_job(["-m", "paths.runs=x", "loss.kl.weight=1,2"]) == ["-m", "paths.runs=x", "loss.kl.weight=1,2"]
    assert for_each_job(["sweeps=small_losses", "student.scale=2"])[1] == "student.scale=choice(2)"
    assert for_each_job(["loss=kl", "loss.kl.weight=2"]) == ["loss=kl", "loss.kl.weight=2"]


def test_the_command_sweeps_in_this_way(limbeck):
    status, out, err = limbeck("train", "-m", "loss=kl,ckl", "loss.ckl.gamma=2,5", "loss.kl.weight=2", "--dry-run")
    assert status == 0
    assert "train: 3 runs, 3 to run" in out
    assert "loss=kl loss.kl.weight=2" in out
    assert err.startswith("loss.ckl.gamma is left out where it is no key (loss=kl); loss.kl.weight is left out")
