import json

import pytest

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.opening import Data
from limbeck.formats.collection_folder import check_free, text_id
from limbeck.formats.faults import Faults
from limbeck.formats.flag_embedding import FlagEmbedding
from limbeck.scores.writer import Provenance, write_store

ONE = {"query": "cats?", "pos": ["cats purr"], "neg": ["dogs bark", "猫"], "pos_scores": [9.5], "neg_scores": [1, -2.0]}
TWO = {"query": "dogs?", "pos": ["dogs bark"], "neg": ["cats purr"], "pos_scores": [8.0], "neg_scores": [0.5]}


def imported(source, paths, out, **options):
    blocks = source.blocks(paths, Faults())
    return write_store(out, blocks, Provenance(teacher="t"), notes=source.finish, **options)


def test_texts_get_ids_and_a_collection(made, tmp_path):
    path = made(json.dumps(ONE), json.dumps(TWO), json.dumps(ONE), name="lists.jsonl")
    source = FlagEmbedding(tmp_path / "store")
    store = imported(source, [path], tmp_path / "store")
    assert source.collection == tmp_path / "store.collection"
    collection = Data(collection=str(source.collection), dev=None, test=None).open(Artefacts(tmp_path / "cache"))
    assert dict(collection.iterate()) == {text_id(text): text for text in ("cats purr", "dogs bark", "猫")}
    train = collection.split("train")
    assert train.queries == {text_id("cats?"): "cats?", text_id("dogs?"): "dogs?"}
    assert train.qrels == {text_id("cats?"): {text_id("cats purr"): 1}, text_id("dogs?"): {text_id("dogs bark"): 1}}
    assert store.query_ids() == [text_id("cats?"), text_id("dogs?")]
    wanted = [text_id(text) for text in ("猫", "dogs bark", "cats purr")]
    assert store.lookup(text_id("cats?"), wanted).tolist() == [-2.0, 1.0, 9.5]
    assert store.meta["positives"] == 2
    assert (tmp_path / "store" / "qrels.tsv").read_text() == (source.collection / "qrels" / "train.tsv").read_text()


def test_real_samples(shared, tmp_path):
    paths = sorted((shared / "teacher-samples").glob("*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    source = FlagEmbedding(tmp_path / "store", collection=str(tmp_path / "named"))
    store = imported(source, paths, tmp_path / "store")
    assert source.collection == tmp_path / "named"
    for line in lines:
        texts = line["pos"] + line["neg"]
        first = dict(zip(reversed(texts), reversed(line["pos_scores"] + line["neg_scores"]), strict=True))
        found = store.lookup(text_id(line["query"]), [text_id(text) for text in texts])
        assert found.tolist() == [first[text] for text in texts]
    collection = Data(collection=str(tmp_path / "named"), dev=None, test=None).open(Artefacts(tmp_path / "cache"))
    assert len(collection.split("train").queries) == len(store.query_ids()) == 20
    assert set(collection.document_ids) == {text_id(text) for line in lines for text in line["pos"] + line["neg"]}


BAD = {
    "no scores": ({"pos_scores": None}, "has no 'pos_scores': score the lists with a re-ranker first"),
    "a score too few": ({"neg_scores": [1]}, "has 2 texts in 'neg', but 1 in 'neg_scores'"),
    "no query": ({"query": None}, "None is no text"),
    "an empty text": ({"neg": ["", "x"]}, "'' is no text"),
    "an id for a text": ({"pos": [17]}, "17 is no text"),
    "no list": ({"pos": "cats purr"}, "has no list 'pos'"),
    "a text for a score": ({"pos_scores": ["9"]}, "'9' is no score"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_lines_are_named_by_file_and_line(case, rows, made, tmp_path):
    change, problem = BAD[case]
    path = made(json.dumps(TWO), json.dumps({**ONE, **change}), name="lists.jsonl")
    with pytest.raises(ConfigError) as told:
        rows("flag_embedding", path)
    assert str(told.value).startswith(f"{path}:2: {problem}")
    assert not (tmp_path / "store.collection").exists()
    found, faults = rows("flag_embedding", path, on_error="skip")
    assert (len(found), faults.count) == (2, 1)


def test_what_is_there_is_not_overwritten(tmp_path):
    check_free(tmp_path / "none", force=False)
    (tmp_path / "beir").mkdir()
    (tmp_path / "beir" / "corpus.jsonl").touch()
    check_free(tmp_path / "beir", force=True)
    with pytest.raises(ConfigError, match="exists; force=true replaces it"):
        check_free(tmp_path / "beir", force=False)
    (tmp_path / "beir" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="exists and is no BEIR folder"):
        check_free(tmp_path / "beir", force=True)
