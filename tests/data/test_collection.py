import os
import pickle

import ir_datasets
import pytest

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.opening import Data, described


def test_a_folder_is_read_through_ir_datasets(folder, artefacts):
    found = Data(collection=str(folder), train="train", dev=None).open(artefacts)
    assert list(found.document_ids) == ["d1", "d2", "d 3"]
    assert found.document_texts(["d 3", "d1", "d1"]) == [
        "Fish fish swim in the sea",
        "Cats cats purr",
        "Cats cats purr",
    ]
    assert found.split("test").qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d 3": 1}}
    assert found.split("train").queries == {"q2": "swimming"}
    assert dict(found.iterate())["d2"] == "dogs bark"
    with pytest.raises(
        ConfigError, match=r"data\.dev: .* no dev split here; it has train, test\ndata\.dev=null data\.dev"
    ):
        found.split("dev")
    with pytest.raises(ConfigError, match="document 'd9' is not in the collection"):
        found.document_texts(["d9"])


def test_the_fingerprint_follows_the_content(folder, artefacts):
    data = Data(collection=str(folder), dev=None)
    before = data.open(artefacts).fingerprint
    assert data.open(artefacts).fingerprint == before
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d4", "text": "new"}\n')
    changed = data.open(artefacts)
    assert changed.fingerprint != before
    assert changed.document_texts(["d4"]) == ["new"]  # the store of the old content is not reused


def test_a_large_folder_is_parsed_once(folder, artefacts, monkeypatch):
    """What is kept of it is what is read of it; a change is seen even where size and time stay."""
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td1\t1\nq2\td 3\t1\nq2\td1\t0\n")
    data = Data(collection=str(folder), dev=None)
    small = data.open(artefacts)
    monkeypatch.setattr("limbeck.data.folder.LARGE", 0)
    monkeypatch.setattr("limbeck.data.folder._SETTLED", -1)
    large = [data.open(artefacts) for _ in range(2)][1]
    assert (large.splits, large.fingerprint) == (small.splits, small.fingerprint)
    assert large.split("test").lacking == 1
    assert list(large.document_ids) == ["d1", "d2", "d 3"]
    with monkeypatch.context() as patch:
        for name in ("sha256", "_records", "read_split"):
            patch.setattr(f"limbeck.data.folder.{name}", None)
        again = data.open(artefacts)
        assert again.splits == small.splits
        assert repr(again) == repr(small)
    corpus = folder / "corpus.jsonl"
    times = corpus.stat()
    corpus.write_text(corpus.read_text().replace("d2", "d4"))
    os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(data.open(artefacts).document_ids) == ["d1", "d4", "d 3"]


def test_a_checksum_is_not_kept_of_what_has_just_been_written(folder, artefacts, monkeypatch):
    monkeypatch.setattr("limbeck.data.folder.LARGE", 0)
    Data(collection=str(folder), dev=None).open(artefacts)
    assert not (artefacts.root / "checksums").exists()


def test_dev_is_held_out_of_train_if_asked_to(shared, artefacts):
    found = Data(collection=str(shared / "scifact"), dev=None, dev_queries=100).open(artefacts)
    train, dev, test = (set(found.split(name).queries) for name in ("train", "dev", "test"))
    assert (len(train), len(dev), len(test)) == (709, 100, 300)
    assert not train & dev
    again = Data(collection=str(shared / "scifact"), dev=None, dev_queries=100).open(artefacts)
    assert list(again.split("dev").queries) == list(found.split("dev").queries)
    with pytest.raises(ConfigError, match=r"data\.dev_queries must be < 809"):
        Data(collection=str(shared / "scifact"), dev=None, dev_queries=809).open(artefacts)


def test_counts_of_a_real_collection(shared, artefacts):
    found = Data(collection=str(shared / "nfcorpus")).open(artefacts)
    assert len(found.document_ids) == 3633
    assert [len(found.split(name).queries) for name in ("train", "dev", "test")] == [2590, 324, 323]
    assert [sum(map(len, found.split(name).qrels.values())) for name in ("train", "test")] == [110575, 12334]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: (p / "corpus.jsonl").write_text('{"_id": "d1", "text": "x"}\n{"_id": 7}\n'),
            r"corpus\.jsonl:2: needs",
        ),
        (
            lambda p: (p / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "\xff"}\n'),
            r"corpus\.jsonl:1: not a JSON",
        ),
        (lambda p: (p / "queries.jsonl").write_text("{\n"), r"queries\.jsonl:1: not a JSON object"),
        (lambda p: (p / "queries.jsonl").unlink(), r"queries\.jsonl is missing"),
        (lambda p: (p / "qrels" / "test.tsv").write_text("q1 d1 1\n"), r"test\.tsv:1: the header must be"),
        (
            lambda p: (p / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\tyes\n"),
            r"test\.tsv:2: expected query-id",
        ),
        (lambda p: (p / "qrels" / "test.tsv").unlink(), r"test\.tsv is missing; splits in this folder: train"),
        (lambda p: (p / "corpus.jsonl").unlink(), "is no BEIR folder"),
        (
            lambda p: (p / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td1\t1\n"),
            "no query has both a text and a judgment",
        ),
    ],
)
def test_bad_folders_name_file_and_line(folder, artefacts, change, message):
    change(folder)

    def read():
        found = Data(collection=str(folder), train=None, dev=None).open(artefacts)
        found.document_texts(found.document_ids)

    with pytest.raises(ConfigError, match=message):
        read()


def test_an_unknown_id_and_an_unreachable_one(artefacts):
    with pytest.raises(
        ConfigError, match="neither an existing folder nor an ir_datasets id; did you mean beir/nfcorpus"
    ):
        Data(collection="beir/nfcorpos").open(artefacts)
    with pytest.raises(
        ConfigError, match=r"ir_datasets has no vaswani/dev\ndata\.dev=null data\.dev_queries=100 takes"
    ):
        Data(collection="vaswani", train="").open(artefacts)


def test_a_folder_that_is_not_there_is_named_in_full_with_paths_data(artefacts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("data/nfcorpus", str(tmp_path / "data/nfcorpus")):
        with pytest.raises(ConfigError) as raised:
            Data(collection=place).open(artefacts)
        assert f"\nlooked at {tmp_path}/data/nfcorpus; experiments name folders below paths.data" in str(raised.value)


def test_a_folder_without_a_dev_split_says_what_to_give(folder, artefacts):
    with pytest.raises(ConfigError) as raised:
        Data(collection=str(folder), train="test").open(artefacts)
    first, then = str(raised.value).splitlines()
    assert first.endswith("dev.tsv is missing; splits in this folder: test, train")
    assert then == "data.dev=null data.dev_queries=1 takes 1 of the training queries instead"
    found = Data(collection=str(folder), train="test", dev=None, dev_queries=1).open(artefacts)
    assert len(found.split("dev").queries) == 1


def test_documents_alone_need_no_splits(folder, artefacts):
    whole = Data(collection=str(folder)).without_absent().open(artefacts)
    assert list(whole.splits) == ["train", "test"]  # it has no dev
    (folder / "queries.jsonl").unlink()
    alone = Data(collection=str(folder)).without_absent().open(artefacts)
    assert (list(alone.splits), len(alone.document_ids)) == ([], 3)
    assert Data(collection="vaswani", test="").without_absent().names == {"train": None, "dev": None, "test": ""}


def test_when_ir_datasets_cannot_download_the_message_says_what_to_do(artefacts, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("ir_datasets.util.download.RequestsDownload.stream", unreachable)
    with pytest.raises(ConfigError, match=r"could not provide 'beir/scifact'.*local BEIR folder"):
        Data(collection="beir/scifact", dev=None).open(artefacts)


def test_ids_of_ir_datasets_are_known():
    """The shipped option files name real ids; loading them would download."""
    known = ir_datasets.registry._registered
    for identifier in ("beir/nfcorpus/train", "msmarco-passage/train/judged", "msmarco-passage/dev/small"):
        assert identifier in known


def test_a_folder_data_set_pickles_before_it_is_opened(folder, tmp_path):
    from limbeck.data import folder as beir

    again = pickle.loads(pickle.dumps(beir.documents(folder, Artefacts(tmp_path), "checksum")))
    assert [document.doc_id for document in again.docs_iter()] == ["d1", "d2", "d 3"]


def test_the_world_of_a_node_is_given_as_it_is_and_built_when_it_is_opened(artefacts):
    node = {"_target_": "data/collection", "collection": "synthetic", "world": {"_target_": "world/synthetic"}}
    assert described(node).world == node["world"]
    with pytest.raises(ConfigError, match=r"^data\.world"):
        described({**node, "world": {}}).open(artefacts)
