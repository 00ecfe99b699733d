"""What a part is called in files: by kind and name, so that a class may move to another module."""

import re
import sys

import pytest

from limbeck import config
from limbeck.config import ConfigError, build, entries, part_name
from small import SMALL

DOTTED = re.compile(r"limbeck(\.\w+)+\.[A-Z]\w+")
STUDENT = """from limbeck.registry import register
from limbeck.students.dense import Dense

@register("student", "mine")
class Mine(Dense):
    fields, separable, kind = Dense.fields, Dense.separable, Dense.kind
"""
TEACHER = """from pathlib import Path
from limbeck.registry import register
from limbeck.teachers.synthetic import SyntheticTeacher

@register("teacher", "oracle")
class Oracle(SyntheticTeacher):
    def __init__(self, folder: Path, *, noise: float = 0.1) -> None:
        super().__init__(folder, noise=noise)
"""
WORDS = ["student=mine", "teacher=oracle", "eval.start=false", "trainer.steps=2", "trainer.validate_every=0"]


def test_registered_parts_go_by_kind_and_name():
    for (kind, name), entry in entries().items():
        assert entry.target == f"{kind}/{name}"
        assert part_name({"_target_": entry.target}) == name


def test_a_dotted_path_of_a_registered_part_is_refused_with_the_name_to_write():
    with pytest.raises(ConfigError, match=r"^loss\.kl\._target_: write loss/kl instead of limbeck\.losses"):
        build({"_target_": entries()["loss", "kl"].path}, key="loss.kl")


def test_nested_parts_are_built_by_their_names():
    margin = {"_target_": "denoise/margin", "absolute": 1.0}
    assert build({"_target_": "pool/pooling", "denoise": margin}, key="pool").denoise.absolute == 1.0


@pytest.mark.parametrize("verb", ["train", "mine", "score", "import", "evaluate", "index", "inspect", "tune", "table"])
def test_no_composed_configuration_holds_a_dotted_path(verb, compose):
    words = {"import": ["format=trec_run"], "table": ["table=small_losses"], "tune": ["tuning=ckl"]}
    assert not DOTTED.search(str(compose(verb, *words.get(verb, []))))


def test_a_class_that_moves_keeps_runs_scores_artefacts_and_saved_students(forked, tmp_path):
    def known():
        sys.path.insert(0, str(tmp_path))
        config.entries.cache_clear()

    def limbeck(*words):
        whole = [*words, "paths.cache=cache", "--config-dir", "own"]
        status, out = forked.run(whole, tmp_path, env={"LIMBECK_PACKAGES": "movingparts"}, first=known)
        assert status == 0, out
        return out

    def parts(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "student.py").write_text(STUDENT)
        (folder / "teacher.py").write_text(TEACHER)

    def made():
        return {path for kind in ("cache", "runs") for path in (tmp_path / kind).glob("*/*") if path.suffix != ".lock"}

    for kind, name in ("student", "mine"), ("teacher", "oracle"):
        path = tmp_path / "own" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"defaults:\n  - /schema/{kind}@_here_: {name}\n  - _self_\n")
    parts(tmp_path / "movingparts")
    limbeck("train", *SMALL, *WORDS)
    before = made()
    (run,) = (tmp_path / "runs" / "train").iterdir()

    for name in ("student", "teacher"):
        (tmp_path / "movingparts" / f"{name}.py").unlink()
    parts(tmp_path / "movingparts" / "elsewhere")
    assert "finished" in limbeck("train", *SMALL, *WORDS)
    assert made() == before, "another run id"
    limbeck("train", *SMALL, *WORDS, "force=true")
    assert made() == before, "scores or artefacts made anew"
    words = [word for word in SMALL if word.startswith("data.")]
    limbeck("index", "student=saved", f"student.folder={run}", "data=synthetic", *words, "out=index", "accelerator=cpu")
