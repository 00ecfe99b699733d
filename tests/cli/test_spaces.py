"""A student in its teacher's space: learned by losses on vectors; its queries search the teacher's index."""

import json
import shutil
import sys

import numpy as np
import pytest

import limbeck as library
from limbeck.artefacts import Artefacts
from limbeck.cli.main import main
from limbeck.data.opening import described
from limbeck.evaluation.runs import read_run
from limbeck.experiment.own_data import data_of
from limbeck.students.folders import MARK, space_of
from small import STUDENT, TRAINING, WORLD

STATIC = ["backbone=static", "backbone.width=24", "optim.lr=0.1"]
TRAIN = [*WORLD, *TRAINING, "trainer.validate_every=0", "eval.start=false", "eval.teacher=false"]


def give(place, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["limbeck", *words])
        main()


@pytest.fixture(scope="module")
def world(tmp_path_factory, cache):
    """A teacher with an index of its own, and a student with a projection that learned from its vectors."""
    place = tmp_path_factory.mktemp("spaces")
    common = [*TRAIN, f"paths.cache={cache}"]
    give(place, "train", "name=teacher", "loss=[kl]", "trainer.steps=2", *common, *STUDENT)
    (teacher,) = place.glob("runs/teacher/*")
    words = ["student=saved", f"student.folder={teacher}", "shard_size=64", f"paths.cache={cache}"]
    give(place, "index", *words, f"out={place}/index")
    tied = ["loss=[kl,embedding_mse]", "student.projection=16", "teacher=saved", f"teacher.student.folder={teacher}"]
    give(place, "train", "name=student", *common, *STATIC, *tied, "trainer.steps=30")
    (student,) = place.glob("runs/student/*")
    return {"place": place, "teacher": teacher, "index": place / "index", "student": student, "common": common}


def search(limbeck, world, out, encoder):
    words = [f"index={world['index']}", f"out={out}", f"query_encoder={encoder}", "depth=50", "timed=0"]
    return limbeck("search", *words, small=False)


def test_queries_by_the_student_documents_by_the_teacher(limbeck, world, tmp_path, cache):
    status, out, err = search(limbeck, world, "run.trec", world["student"])
    assert status == 0, err
    assert "queries by" in out
    found = read_run(tmp_path / "run.trec")
    student, teacher = (library.load(world[name], device="cpu") for name in ("student", "teacher"))
    texts = described(data_of(world["student"])).open(Artefacts(cache)).folder
    queries, documents = (
        {row["_id"]: " ".join([row.get("title", ""), row["text"]]).strip() for row in map(json.loads, file.open())}
        for file in (texts / "queries.jsonl", texts / "corpus.jsonl")
    )
    targets = teacher.encode(list(documents.values()), "document")
    for query, ranking in list(found.items())[:5]:
        scores = student.student.scale * (student.encode([queries[query]], "query") @ targets.T)[0]
        wanted = dict(zip(documents, scores, strict=True))
        np.testing.assert_allclose(ranking.scores, [wanted[name] for name in ranking.ids], atol=1e-4)
        np.testing.assert_allclose(ranking.scores, np.sort(scores)[::-1][:50], atol=1e-4)
    words = [f"run={world['student']}", f"index={world['index']}", "eval.search_depth=50", f"paths.cache={cache}"]
    status, _, err = limbeck("evaluate", *words, small=False)
    assert status == 0, err
    (file,) = (path for path in tmp_path.glob("runs/evaluate/*/runs/*.trec") if "first_stage" not in path.name)
    for query, ranking in read_run(file).items():
        np.testing.assert_allclose(ranking.scores, found[query].scores, atol=1e-5)


def test_the_loss_brings_the_queries_to_where_the_teacher_has_them(world):
    """The mean cosine with the teacher's vectors of training queries, which random vectors have near 0."""
    student, teacher = (library.load(world[name], device="cpu") for name in ("student", "teacher"))
    words = json.loads((world["student"] / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    texts = [word for word in words if word.isalpha()][:40]
    cosines = (student.encode(texts, "query") * teacher.encode(texts, "query")).sum(1)
    assert cosines.mean() > 0.3


def test_an_export_stays_in_the_space(limbeck, world, tmp_path):
    assert limbeck("export", f"run={world['student']}", "out=made", small=False)[0] == 0
    assert space_of(tmp_path / "made") == space_of(world["student"])
    assert space_of(world["teacher"]) is None
    status, _, err = search(limbeck, world, "run.trec", tmp_path / "made")
    assert status == 0, err


def marked(world, folder, **changed):
    """A copy of the student with other marks."""
    shutil.copytree(world["student"] / "model", folder)
    mark = json.loads((folder / MARK).read_text())
    (folder / MARK).write_text(json.dumps({**mark, **changed}))
    return folder


def test_who_was_never_in_the_space_is_refused(limbeck, world, tmp_path):
    stranger = marked(world, tmp_path / "stranger", space=None)
    status, _, err = search(limbeck, world, "no.trec", stranger)
    assert status == 2
    assert f"query_encoder: the student in {stranger} was not trained to share another encoder's vector space" in err
    assert "loss=[ckl,embedding_mse]" in err
    elsewhere = marked(world, tmp_path / "elsewhere", space={"weights": "0" * 64, "teacher": "another", "losses": []})
    status, _, err = search(limbeck, world, "no.trec", elsewhere)
    assert status == 2
    assert "was brought into the space of another, and" in err
    node = json.loads((world["student"] / "model" / MARK).read_text())["student"]
    narrow = marked(world, tmp_path / "narrow", student={**node, "dimension": 8})
    status, _, err = search(limbeck, world, "no.trec", narrow)
    assert status == 2
    assert f"the queries of {narrow} have 8 components, the documents of {world['index']} 16" in err
    assert not (tmp_path / "no.trec").exists()
    status, _, err = limbeck("evaluate", f"run={stranger}", f"index={world['index']}", "eval.pipeline=[rerank]",
                             small=False)  # fmt: skip
    assert status == 2
    assert "index: its documents are searched" in err
    status, _, err = limbeck("evaluate", f"index={world['index']}", "run_file=a.trec", small=False)
    assert status == 2
    assert "index holds encoded documents; name the student that searches them: run=FOLDER" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "have 24 components, the teacher's 16: student.projection=16"),
        (["student.projection=16", "student.matryoshka=[4]"], "leave one of the two out"),
        (["student.projection=16", "teacher.student.options={similarity: dot}"], "take loss=embedding_cosine"),
    ],
    ids=["widths", "sizes", "lengths"],
)
def test_vectors_that_cannot_be_compared_are_refused(limbeck, world, words, message):
    of_teacher = ["teacher=saved", f"teacher.student.folder={world['teacher']}"]
    given = ["train", "name=no", *world["common"], *STATIC, "loss=[embedding_mse]", *of_teacher, *words]
    status, _, err = limbeck(*given, small=False)
    assert status == 2
    assert "loss.embedding_mse" in err
    assert message in err


def test_teachers_without_vectors_are_refused(limbeck, world):
    status, _, err = limbeck("train", "name=no", *world["common"], *STATIC, "loss=[embedding_cosine]", small=False)
    assert status == 2
    assert "loss.embedding_cosine needs teacher_vectors" in err
