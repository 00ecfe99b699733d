"""Several devices search and re-rank to the bytes of one: real processes, copies of this one."""

import json
from types import SimpleNamespace

import pytest

from limbeck.config import ConfigError
from limbeck.evaluation import ranking as searching
from limbeck.experiment import devices, engine, sharing
from small import QUICK

ALL = "eval.pipeline=[search,rerank,fuse]"
FEW = ["eval.start=false", "candidates.depth=15", "eval.depth=15", "eval.search_depth=15"]


def runs_of(tmp_path, name):
    (run,) = (path.parent for path in (tmp_path / "runs" / name).glob("*/result.json"))
    assert not list((run / ".shares").glob("*"))  # nothing of the work is left
    return {path.name: path.read_bytes() for path in (run / "runs").iterdir()}, json.loads(
        (run / "result.json").read_text()
    )


def test_two_devices_write_the_runs_of_one(limbeck, forked, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "subprocess", SimpleNamespace(Popen=forked.Popen))
    monkeypatch.setattr(searching, "PIECE", 16)  # more documents and candidates than a device is given at a time
    words = [*QUICK, "eval.pipeline=[search,rerank]", "eval.depth=60", "eval.start=false"]
    asked = []
    real = sharing.Sharing.spread
    monkeypatch.setattr(sharing.Sharing, "spread", lambda self, job, fill: asked.append(job) or real(self, job, fill))
    for count in (1, 2):
        status, _, err = limbeck("train", *words, f"name=by{count}", f"eval.devices={count}")
        assert status == 0, err
    one, result = runs_of(tmp_path, "by1")
    two, shared = runs_of(tmp_path, "by2")
    assert one == two
    assert result["rows"] == shared["rows"]
    assert [job["task"] for job in asked] == ["search", "rerank"]


@pytest.mark.parametrize("student", ["colbert", "cross_encoder"])
def test_every_share_does_a_part_of_the_work(student, limbeck, tmp_path, monkeypatch):
    """In one process, with pieces so small that each share has several; what is done is not done again."""
    monkeypatch.setattr(searching, "PIECE", 16)
    done = []

    def in_turn(devices, words):
        for number in range(devices):
            _, folder, mine = words(number)
            engine.work(tmp_path / folder, int(mine))
            part = tmp_path / folder / f"{mine}.0.trec"
            if not part.exists():
                done.append("scored")
                continue
            done.append(part.stat().st_mtime_ns)
            engine.work(tmp_path / folder, int(mine))
            assert part.stat().st_mtime_ns == done[-1]

    monkeypatch.setattr(sharing, "each_device", in_turn)
    stages = "eval.pipeline=[rerank]" if student == "cross_encoder" else ALL
    alone = ["eval.start=false", "eval.teacher=false"]
    assert limbeck("train", "name=teacher", f"student={student}", "eval.depth=1", *QUICK, *alone)[0] == 0
    (folder,) = (tmp_path / "runs" / "teacher").glob("*")
    for count in (1, 3):
        words = [f"name=by{count}", f"student={student}", stages, f"eval.devices={count}", *QUICK, *FEW]
        taught = ["teacher=saved", f"teacher.student.folder={folder}", f"paths.cache={tmp_path}/cache{count}"]
        status, _, err = limbeck("train", *words, *taught)
        assert status == 0, err
    assert runs_of(tmp_path, "by1")[0] == runs_of(tmp_path, "by3")[0]
    # The student searches and re-ranks; the teacher searches, and scores what it re-ranks.
    assert len(done) == 3 * (2 if student == "cross_encoder" else 4)
    assert done.count("scored") == 3


def test_a_process_that_fails_is_told():
    with pytest.raises(ConfigError, match=r"processes \[1\] of 2 failed; run the same command again"):
        devices.each_device(2, lambda number: ["this", "no_such_module"][number : number + 1])


@pytest.mark.parametrize(
    ("visible", "seen"), [(None, ["0", "1", "2"]), ("3,5", ["3", "5", "3"]), ("", ["", "", ""])], ids=str
)
def test_each_process_sees_one_of_the_gpus_that_may_be_used(visible, seen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    given = []
    popen = lambda words, env: given.append(env["CUDA_VISIBLE_DEVICES"]) or SimpleNamespace(wait=lambda: 0, poll=lambda: 0)  # noqa: E731, E501 # fmt: skip
    monkeypatch.setattr(devices, "subprocess", SimpleNamespace(Popen=popen))
    devices.each_device(3, lambda _: ["this"])
    assert given == seen
