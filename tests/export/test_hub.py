"""A ranker goes to a hub and comes back: against a server on this machine that speaks the hub's own protocol."""

import huggingface_hub
import numpy as np
import pytest
import transformers
from tests.export.conftest import DOCUMENTS, LENGTHS, QUERIES
from tests.export.hub import serving
from tests.export.test_layouts import classifier

from limbeck.config import ConfigError
from limbeck.experiment.loading import load
from limbeck.export.modules import pipeline

TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = huggingface_hub.constants
    with serving() as (served, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + TEMPLATE)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # it remembers the address it was first used with
        yield served


def test_there_and_back(make, hub, tmp_path):
    pipeline(*make("colbert", query_prefix="cats ")).write(tmp_path / "it")
    ranker = load(tmp_path / "it", device="cpu")
    address = ranker.push_to_hub(
        "me/mine", private=True, message="The first", token="hf_secret", card={"license": "mit"}
    )
    assert "/me/mine/commit/" in address
    assert (hub.visibility, hub.messages) == ({"me/mine": "private"}, ["The first"])
    assert hub.tokens == {"Bearer hf_secret"}
    assert hub.files("me/mine").keys() >= {"modules.json", "limbeck.json", "README.md", "model.safetensors"}
    card = hub.files("me/mine")["README.md"].decode()
    assert "\n# mine\n" in card
    assert 'MultiVectorEncoder("me/mine")' in card
    assert "license: mit" in card
    again = load("me/mine", device="cpu")
    assert (again.kind, again.source) == ("colbert", "me/mine")
    np.testing.assert_array_equal(again.score(QUERIES[0], DOCUMENTS), ranker.score(QUERIES[0], DOCUMENTS))


def test_a_branch(make, hub, tmp_path):
    pipeline(*make("dense")).write(tmp_path / "it")
    load(tmp_path / "it", device="cpu").push_to_hub("mine", revision="v2", token="hf_secret")
    assert (hub.files("me/mine"), "modules.json" in hub.files("me/mine", "v2")) == ({}, True)
    assert 'SentenceTransformer("me/mine")' in hub.files("me/mine", "v2")["README.md"].decode()  # "mine" was asked for
    assert load("me/mine", revision="v2", device="cpu").kind == "dense"
    with pytest.raises(ConfigError, match="the hub model 'me/mine' could not be loaded"):
        load("me/mine")  # nothing is on the main branch


def test_plain_checkpoints_and_older_cross_encoders(tokenizer, make, hub, tmp_path):
    student, collator = make("splade")
    student.backbone.save_pretrained(tmp_path / "plain")
    collator.tokenizer.save(tmp_path / "plain")
    identity = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    classifier(tmp_path / "scores", tokenizer, 1, config=identity)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (tmp_path / "scores" / name).unlink()
    for name in ("plain", "scores"):
        hub.repos[f"me/{name}"] = {"main": {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}}
    with pytest.raises(ConfigError, match=r"'me/plain' is a checkpoint that does not say what student it is"):
        load("me/plain")
    assert load("me/plain", student="splade", options=LENGTHS, device="cpu").encode(DOCUMENTS, "document").nnz
    ranker = load("me/scores", device="cpu")
    assert (ranker.kind, ranker.student.activation) == ("cross_encoder", "identity")
