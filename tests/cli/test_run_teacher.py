"""A TREC run as teacher: by its scores, or, where they are not its own, by its ranks."""

import numpy as np
import pytest

from limbeck.artefacts import Artefacts
from limbeck.evaluation.runs import read_run
from limbeck.formats.trec_run import write_trec
from limbeck.scores.store import ScoreStore
from limbeck.teachers.run import RunTeacher

WORLD = [
    "data.world.documents=200",
    "data.world.topics=6",
    "data.world.train=60",
    "data.world.dev=10",
    "data.world.test=20",
]


@pytest.fixture
def run_file(limbeck, cache, tmp_path):
    """The synthetic teacher's ranking of all pairs that training and test need, as a run file."""
    words = ("out=store", "splits=[train,test]", f"paths.cache={cache}", *WORLD)
    assert limbeck("score", *words, small=False)[0] == 0
    write_trec(ScoreStore.open(tmp_path / "store"), tmp_path / "teacher.trec")
    return tmp_path / "teacher.trec"


def test_training_from_a_run_file_is_training_from_the_teacher(limbeck, run_file):
    told = []
    for words in (["teacher=run", f"teacher.path={run_file}"], []):
        status, out, err = limbeck("train", f"name=n{len(told)}", "eval.start=false", *words)
        assert status == 0, err
        told.append([line for line in out.splitlines() if "distilled" in line or "teacher" in line])
    assert told[0] == told[1]


def test_a_permutation_teaches_losses_of_order_only(limbeck, run_file):
    words = ("train", "teacher=run", f"teacher.path={run_file}", "teacher.use=ranks")
    status, _, err = limbeck(*words)
    assert status != 0
    assert "the teacher gives only ranks" in err
    for loss in ("ranknet", "cl_drd"):
        quick = ["eval.start=false", "eval.teacher=false", "trainer.steps=2", "trainer.validate_every=0"]
        status, _, err = limbeck(*words, f"loss={loss}", f"name={loss}", *quick)
        assert status == 0, err


def test_ranks_are_those_of_the_file_not_of_its_scores(tmp_path):
    lines = ["q Q0 a 1 0.1 x", "q Q0 b 2 0.9 x", "q Q0 c 3 0.5 x"]
    (tmp_path / "run.trec").write_text("\n".join(lines) + "\n")
    more = tmp_path / "more.trec"
    more.write_text("p Q0 a 1 7 x\n")
    artefacts = Artefacts(tmp_path / "cache")
    teacher = RunTeacher(artefacts, path=[str(tmp_path / "run.trec"), str(more)], use="ranks")
    np.testing.assert_array_equal(teacher.score(["q", "p"], [["c", "a", "x"], ["a"]])[0], [-3, -1, np.nan])
    teacher = RunTeacher(artefacts, path=str(tmp_path / "run.trec"))
    np.testing.assert_array_equal(teacher.score(["q"], [["c", "a"]])[0], np.array([0.5, 0.1], dtype=np.float32))
    assert teacher.name == "x"
    assert read_run(tmp_path / "run.trec")["q"].ids == ["b", "c", "a"]


def test_mistakes_are_named(limbeck, tmp_path):
    status, _, err = limbeck("train", "teacher=run", "teacher.path=absent.trec")
    assert status != 0
    assert "teacher.path must name TREC run files; absent.trec does not exist" in err
    (tmp_path / "bad.trec").write_text("q Q0 a 1 0.5 x\nq Q0 b two 0.4 x\n")
    status, _, err = limbeck("train", "teacher=run", "teacher.path=bad.trec")
    assert status != 0
    assert "bad.trec:2: 'two' is no rank" in err
