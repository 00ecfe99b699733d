"""``limbeck export``: from a run to a folder, and back."""

import json
import re

import pytest
import yaml
from transformers import AutoModel

from limbeck.experiment.own_data import data_of

KINDS = {
    "dense": ["student=dense", "student.towers=separate", "student.learn_scale=true"],
    "cosine": ["student=dense", "student.query_prefix='query: '", "student.dimension=8"],
    "splade": ["student=splade", "student.query_encoder=tokens", "student.scale=0.01"],
    "colbert": ["student=colbert", "student.dimension=8"],
    "cross_encoder": ["student=cross_encoder"],
}


@pytest.fixture
def trained(limbeck, tmp_path):
    def call(*words):
        quick = ["eval.start=false", "trainer.steps=2", "trainer.validate_every=0"]
        status, _, err = limbeck("train", "name=first", "loss=[kl]", *quick, *words)
        assert status == 0, err
        (folder,) = tmp_path.glob("runs/first/*")
        return folder

    return call


@pytest.mark.parametrize("kind", ["dense", "splade", "cross_encoder"])  # of all others: export/test_foreign.py
def test_an_exported_folder_ranks_as_the_run_did(limbeck, trained, tmp_path, kind):
    folder = trained(*KINDS[kind])
    status, _, err = limbeck("export", f"run={folder}", "out=made/model", small=False)
    assert status == 0, err
    words = ["student=saved", f"student.folder={tmp_path}/made/model", "trainer.steps=1", "eval.start=true"]
    quick = ["eval.teacher=false", "trainer.validate_every=0"]
    status, _, err = limbeck("train", "name=second", "loss=[kl]", *quick, *words)
    assert status == 0, err
    (second,) = tmp_path.glob("runs/second/*")
    ended, start = (
        next(row for row in json.loads((each / "result.json").read_text())["rows"] if row["key"] == key)
        for each, key in ((folder, "student"), (second, "start"))
    )
    assert {name: start[name] for name in start if "@" in name} == {name: ended[name] for name in ended if "@" in name}


def test_the_card_tells_where_a_model_comes_from(limbeck, trained, tmp_path):
    folder = trained(*KINDS["cosine"])
    assert limbeck("export", f"run={folder}", "out=made", "card.license=mit", small=False)[0] == 0
    assert data_of(tmp_path / "made") == data_of(folder)
    card = (tmp_path / "made" / "README.md").read_text()
    result = json.loads((folder / "result.json").read_text())
    of_student = next(row for row in result["rows"] if row["key"] == "student")
    for told in (
        "library_name: sentence-transformers",
        "from sentence_transformers import SentenceTransformer",
        'AutoModel.from_pretrained("made")',
        "Limbeck's scores are 20 times these",
        result["collection_fingerprint"],
        "| teacher | synthetic(",
        "limbeck train",
        f"torch {__import__('torch').__version__}",
        f"{of_student['ndcg@10']:.4f}",
        "| query_prefix | `query: ` |",
        "| system | ranks | nDCG@10 | MRR@10 | R@100 |",
    ):
        assert told in card, told
    assert "Measured before" not in card
    assert not re.search(r"/(home|root|tmp|work)/|\bNone\b|\bTrue\b|\bFalse\b", card)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["language"]) == ("mit", "en")
    (model,) = head["model-index"]
    (measured,) = model["results"]
    assert measured["dataset"] == {"name": "synthetic", "type": "synthetic", "split": "test"}
    assert {"type": "ndcg_at_10", "name": "nDCG@10", "value": round(of_student["ndcg@10"], 4)} in measured["metrics"]
    _, told = AutoModel.from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    words = [f"run={folder}", "out=cut", "student.options={dimension: 4}"]
    assert limbeck("export", *words, small=False)[0] == 0
    told = "Measured before the export changed the student: it has `dimension=4`."
    assert told in (tmp_path / "cut" / "README.md").read_text()


@pytest.mark.parametrize("sizes", ["[]", "[2,4]", "[4,8]"])
def test_options_can_be_changed_on_the_way(limbeck, trained, tmp_path, sizes):
    folder = trained("student=dense", f"student.matryoshka={sizes}")
    words = [f"run={folder}", "out=made", "student.options={dimension: 4}"]
    status, _, err = limbeck("export", *words, small=False)
    assert status == 0, err
    assert json.loads((tmp_path / "made" / "2_Dense" / "config.json").read_text())["out_features"] == 4
    kept = json.loads((tmp_path / "made" / "limbeck.json").read_text())["student"]["matryoshka"]
    assert kept == [size for size in json.loads(sizes) if size < 4]  # what a vector of 4 can be cut to


def test_an_export_gives_way_to_an_export_and_nothing_else_does(limbeck, trained, tmp_path):
    folder = trained()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    status, _, err = limbeck("export", f"run={folder}", "out=mine", small=False)
    assert status == 2
    assert "out: 'mine' exists and is not an export of limbeck" in err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    for _ in range(2):
        assert limbeck("export", f"run={folder}", "out=made", small=False)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "made" in path.name) == ["made"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["out=made"], "run must be given"),
        (["run=nowhere"], "out must be given"),
        (["run=nowhere", "out=made"], "student.folder: there is no folder 'nowhere'"),
        (["run=.", "out=made"], "holds neither limbeck.json nor modules.json"),
    ],
)
def test_what_it_refuses(limbeck, words, told):
    status, _, err = limbeck("export", *words, small=False)
    assert status == 2
    assert told in err
