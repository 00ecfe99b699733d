"""``limbeck mine`` for real, and ``limbeck train`` on what it wrote."""

import json
import re
import shlex

import pytest

from limbeck.config import home
from limbeck.data.pool import read_pool
from limbeck.evaluation.runs import read_run

WORLD = [
    "data.world.documents=200",
    "data.world.topics=6",
    "data.world.train=60",
    "data.world.dev=10",
    "data.world.test=20",
]
TINY_MODEL = [
    "backbone@candidates.backbone=tiny", "candidates.backbone.width=16", "candidates.backbone.layers=1",
    "candidates.backbone.untrained=true",
]  # fmt: skip
QUICK = ["eval.start=false", "eval.teacher=false", "trainer.steps=2", "trainer.validate_every=0"]
"""For a model, however good."""


@pytest.fixture
def mine(limbeck, cache):
    def call(*words):
        return limbeck("mine", *WORLD, f"paths.cache={cache}", *words, small=False)

    return call


def pools(cache):
    return set(cache.glob("pool/*/pool.arrow"))


def test_one_command_writes_runs_and_a_pool_that_belong_together(mine, tmp_path):
    status, out, err = mine("candidates.depth=40", "pool.first_rank=3", "pool.last_rank=30", "pool.negatives=10")
    assert status == 0, err
    folder = tmp_path / "mined"
    names = {"train.trec", "dev.trec", "test.trec", "pool.arrow", "pool.json", "mine.json", ".lock"}
    assert {path.name for path in folder.iterdir()} == names
    run, pool = read_run(folder / "train.trec"), read_pool(folder / "pool.arrow")
    assert len(run) == 60
    for i, query in enumerate(pool.query_ids):
        rows, ids = pool.rows(i), run[query].ids
        for document, label, rank in zip(pool.documents(i), pool.labels[rows], pool.ranks[rows], strict=True):
            assert rank == (ids.index(document) + 1 if document in ids else len(ids) + 1)
            assert label > 0 or 3 <= rank <= 30
    counts = json.loads((folder / "pool.json").read_text())
    assert counts["negatives"] == int((pool.labels == 0).sum()) <= 600
    assert counts["left_out"]["negatives_outside_the_window"] > 0
    record = json.loads((folder / "mine.json").read_text())
    (row,) = [row for row in record["splits"] if row["split"] == "train"]
    assert row["positives_found"] == counts["positives_among_the_candidates"]
    for told in (f"{row['recall']:.4f}", "recall@40", "negatives outside the window", f"{counts['positives']:,}"):
        assert told in out
    assert record["command"][:2] == ["limbeck", "mine"]


def test_a_record_without_a_count_of_ties_is_shown(capsys, tmp_path):
    """As versions before wrote it."""
    from limbeck.experiment.mine import show

    row = {"split": "test", "queries": 3, "without_candidates": [], "mean_length": 2.0, "longest": 2, "positives": 3}
    row |= {"positives_found": 1, "recall": 0.5, "seconds": 1.0}
    show({"collection": "c", "candidates": "BM25", "depth": 2, "splits": [row], "pool": None}, tmp_path)
    assert "1 of 3" in capsys.readouterr().out


def test_what_is_there_is_shown_and_other_settings_are_not_written_over(mine, tmp_path):
    assert mine("splits=[test]", "out=here")[0] == 0
    folder = tmp_path / "here"
    assert not (folder / "pool.arrow").exists()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    status, out, err = mine("splits=[test]", "out=here")
    assert status == 0
    assert "here is finished; force=true writes it again" in err
    assert "recall@100" in out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    status, _, err = mine("splits=[test]", "out=here", "candidates.depth=5")
    assert status == 2
    assert "here holds candidates of other settings (they differ in test.depth)" in err
    assert len(read_run(folder / "test.trec")) == 20
    status, _, err = mine("splits=train", "out=here", "candidates.depth=5", "force=true")
    assert status == 0, err
    assert not (folder / "test.trec").exists()  # it was of other settings
    assert {len(ranking.ids) for ranking in read_run(folder / "train.trec").values()} == {5}
    (folder / "train.trec").unlink()
    assert mine("splits=train", "out=here", "candidates.depth=5")[0] == 0
    assert (folder / "train.trec").exists()


def test_train_learns_the_same_from_mined_files_as_from_their_source(mine, limbeck, tmp_path, cache):
    mine("candidates.depth=30")
    before = pools(cache)
    files = [f"candidates.{split}=mined/{split}.trec" for split in ("train", "dev", "test")]
    words = ["candidates=run", *files, "candidates.name=BM25", "name=mined_run", "eval.start=false"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    (made,) = pools(cache) - before
    mined, own = read_pool(tmp_path / "mined" / "pool.arrow"), read_pool(made)
    assert own.query_ids == mined.query_ids
    assert own.document_ids.equals(mined.document_ids)
    assert own.ranks.tolist() == mined.ranks.tolist()
    assert limbeck("train", "candidates.depth=30", "name=direct", "eval.start=false")[0] == 0
    results = {}
    for name in ("mined_run", "direct"):
        (path,) = (tmp_path / "runs" / name).rglob("result.json")
        results[name] = [(row["key"], row["ndcg@10"]) for row in json.loads(path.read_text())["rows"]]
    assert results["mined_run"] == results["direct"]


def test_a_fusion_with_a_student_trained_here(mine, limbeck, tmp_path):
    assert limbeck("train", *QUICK)[0] == 0
    (model,) = (tmp_path / "runs" / "train").glob("*/model")
    words = ["candidates=fusion", "candidates/parts=[bm25,dense]", f"candidates.parts.dense.backbone.model={model}"]
    status, out, err = mine(*words, "candidates.parts.bm25.depth=20", "candidates.parts.dense.depth=20")
    assert status == 0, err
    assert "fusion of BM25 (k1=0.9, b=0.4) and dense search" in out
    fused = read_run(tmp_path / "mined" / "test.trec")
    assert all(20 <= len(ranking.ids) <= 40 for ranking in fused.values())
    dense = read_run(next((tmp_path / "runs" / "train").glob("*/runs/test.student.trec")))
    status, _, err = mine("candidates=dense", f"candidates.backbone.model={model}", "splits=test", "out=alone")
    assert status == 0, err
    alone = read_run(tmp_path / "alone" / "test.trec")
    assert {query: ranking.ids for query, ranking in alone.items()} == {q: r.ids[:100] for q, r in dense.items()}
    for query, ranking in fused.items():
        assert set(alone[query].ids[:20]) <= set(ranking.ids)


def test_denoised_by_a_teacher(mine, tmp_path):
    assert mine("out=plain", "splits=train")[0] == 0
    words = ["pool.denoise.absolute=1.0", "teacher=synthetic", "splits=train", "out=clean"]
    status, out, err = mine(*words)
    assert status == 0, err
    plain, clean = (read_pool(tmp_path / name / "pool.arrow") for name in ("plain", "clean"))
    assert clean.query_ids == plain.query_ids
    denoised = clean.counts["denoised"]
    assert denoised["negatives"] == len(plain.labels) - len(clean.labels) > 0
    assert (clean.labels > 0).sum() == (plain.labels > 0).sum()
    assert "negatives above the teacher's margin" in out
    assert (tmp_path / "plain" / "train.trec").read_bytes() == (tmp_path / "clean" / "train.trec").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pool.denoise.relative=0.9"], "pool.denoise needs teacher scores; choose a teacher"),
        (["pool.denoise.relative=2"], "pool.denoise.relative must be above 0 and at most 1"),
        (["teacher=synthetic"], "the teacher is used only by pool.denoise here"),
        (["pool.first_rank=0"], "pool.first_rank must be >= 1, got 0"),
        (["pool.negative=3"], "pool.negative is no key of the configuration"),
        (["candidates=run"], "candidates.file must be given"),
        (["candidates=run", "candidates.file=nowhere.trec"], "nowhere.trec does not exist"),
        (["candidates=fusion", "candidates/parts=[bm25]"], "candidates: parts must be at least two candidates, got b"),
        (["candidates=dense", "student@candidates.student=cross_encoder", *TINY_MODEL],
         "candidates.student must encode queries and documents apart"),
        (["splits=[nonsense]"], "has no nonsense split"),
        (["splits=[]"], "splits must be null or some of"),
        (["+samples=3"], "samples is no key of the configuration"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_anything_is_written(mine, tmp_path, words, message):
    status, _, err = mine(*words)
    assert status == 2, err
    assert message in err
    assert not list(tmp_path.glob("mined/*.trec"))


def test_two_commands_do_not_write_into_one_folder(mine, tmp_path, waited_for):
    (tmp_path / "mined").mkdir()
    with waited_for(tmp_path / "mined" / ".lock"):
        status, _, err = mine()
    assert status == 0, err
    assert "waiting for the candidates in mined (held by another process)" in err


def test_train_denoises_with_its_teacher_or_refuses(limbeck, tmp_path):
    status, _, err = limbeck("train", "pool.denoise.absolute=1", "pool.negatives=20", *QUICK)
    assert status == 0, err
    assert list((tmp_path / "runs").rglob("result.json"))
    status, _, err = limbeck("train", "teacher=none", "loss=info_nce", "pool.denoise.absolute=1")
    assert status == 2
    assert "pool.denoise needs teacher scores" in err


def documented():
    text = (home() / "docs" / "howto" / "candidates.md").read_text().replace("\\\n", " ")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("command", documented())
def test_documented_commands_compose(command, limbeck):
    name, verb, *words = shlex.split(command)
    assert name == "limbeck"
    status, _, err = limbeck(verb, "--cfg", "job", "--resolve", *words, small=False)
    assert status == 0, err


def test_the_documented_fusion_of_ones_own(limbeck, tmp_path, cache):
    text = (home() / "docs" / "howto" / "candidates.md").read_text()
    (own,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert limbeck("train", *QUICK)[0] == 0
    (model,) = (tmp_path / "runs" / "train").glob("*/model")
    (tmp_path / "my" / "candidates").mkdir(parents=True)
    path = tmp_path / "my" / "candidates" / "ours.yaml"
    path.write_text(re.sub(r"runs/train/\w+/model", str(model), own))
    words = ["candidates=ours", "splits=test", *WORLD, f"paths.cache={cache}"]
    status, out, err = limbeck("mine", "--config-dir", "my", *words, small=False)
    assert status == 0, err
    assert "fusion of BM25 (k1=0.9, b=0.4) and old search and new search" in out
