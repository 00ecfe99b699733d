"""Stores of documents that several processes need at the same time, and damaged ones."""

import contextlib
import json
import os
import shutil
import signal
import time
import traceback
from pathlib import Path

import ir_datasets
import pytest
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import GenericDoc, JsonlDocs, JsonlQueries, TrecQrels
from ir_datasets.indices import DocstoreOptions, FileAccess
from ir_datasets.util import LocalDownload

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.documents import damage
from limbeck.data.opening import Data

COUNT = 150
IDS = [f"d{number}" for number in range(COUNT)]


def text(number):
    return f"document {number} " + "word " * (number % 7)


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    records = [{"_id": d, "title": "", "text": text(number)} for number, d in enumerate(IDS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a query"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n")
    return folder


def opened(collection, cache):
    return Data(collection=str(collection), train=None, dev=None).open(Artefacts(cache))


def right(collection, cache):
    """Return whether all that can be asked of a collection is answered as its file says."""
    made = opened(collection, cache)
    expected = [text(number).strip() for number in range(COUNT)]
    return made.document_texts(IDS) == expected and list(made.document_ids) == IDS


def together(count, work, killed=0):
    """Do some work in processes that begin at the same moment, and kill some; return the statuses of the others."""
    ready, go = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            status = 1
            try:
                os.close(go)
                os.read(ready, 1)  # ends when the parent closes its end
                status = 0 if work() else 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    os.close(ready)
    os.close(go)
    for number, child in enumerate(children[:killed]):
        time.sleep(0.004 * (number + 1))
        os.kill(child, signal.SIGKILL)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return statuses[killed:]


@contextlib.contextmanager
def read_only(folder):
    paths = [folder, *folder.rglob("*")]
    try:
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield
    finally:
        for path in paths:
            path.chmod(0o755)


def without_rights(folder, work):
    """Return work that is done in a folder by a user who is not root: root may write anywhere."""
    folder.chmod(0o755)

    def done():
        os.chdir(folder)
        if os.getuid() == 0:
            os.setuid(65534)
        return work()

    return done


def test_processes_that_open_a_cold_folder_at_the_same_moment(beir, tmp_path):
    for repeat in range(3):
        cache = tmp_path / f"cache{repeat}"
        assert together(4, lambda cache=cache: right(beir, cache), killed=repeat % 3) == [0] * (4 - repeat % 3)
        assert right(beir, cache)
        assert len(list(cache.glob("documents/*/meta.json"))) == 1


@pytest.mark.parametrize("name", ["bin", "bin.pos", "bin.meta", "idx.doc_id.key", "idx.doc_id.pos", "idx.doc_id.meta"])
@pytest.mark.parametrize("harm", ["cut", "deleted", "longer"])
def test_a_damaged_store_is_named_and_built_again(beir, tmp_path, caplog, name, harm):
    cache = tmp_path / "cache"
    assert right(beir, cache)
    (folder,) = (path.parent for path in cache.glob("documents/*/meta.json"))
    file = folder / "docs.pklz4" / name
    content = file.read_bytes()
    file.unlink()
    if harm != "deleted":
        file.write_bytes(content[: len(content) // 2] if harm == "cut" else content + b"1")
    assert right(beir, cache)
    (said,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert said.startswith(f"{folder} is damaged (docs.pklz4/{name} ")
    assert said.endswith("it is built again")
    caplog.clear()
    assert right(beir, cache)
    assert not caplog.records


def test_damage_that_only_reading_shows_names_the_folder_to_delete(beir, tmp_path):
    cache = tmp_path / "cache"
    assert right(beir, cache)
    (file,) = cache.glob("documents/*/docs.pklz4/bin")
    file.write_bytes(b"\xff" * file.stat().st_size)
    folder = file.parents[1]
    with pytest.raises(ConfigError, match=rf"^{folder} is damaged .* delete this folder and run the command again"):
        opened(beir, cache).document_texts(IDS)
    shutil.rmtree(folder)
    assert right(beir, cache)


def test_a_read_only_cache_with_the_store_in_it_is_read(beir, tmp_path):
    cache = tmp_path / "cache"
    assert right(beir, cache)
    with read_only(cache):
        assert together(2, without_rights(tmp_path, lambda: right("beir", Path("cache")))) == [0, 0]


# -- ir_datasets' own home folder ---------------------------------------------------------------------------------


@pytest.fixture
def identifier(beir, tmp_path, monkeypatch):
    """An id of ir_datasets whose files are local, and whose store lies beside them."""
    monkeypatch.chdir(tmp_path)
    home = Path("home")
    home.mkdir()
    monkeypatch.setenv("IR_DATASETS_HOME", str(home))
    records = [json.dumps({"doc_id": d, "text": text(number).strip()}) + "\n" for number, d in enumerate(IDS)]
    (home / "docs.jsonl").write_text("".join(records))
    (home / "queries.jsonl").write_text('{"query_id": "q", "text": "a query"}\n')
    (home / "qrels").write_text("q 0 d1 1\n")
    registered = dict(ir_datasets.registry._registered)
    documents = JsonlDocs(LocalDownload(home / "docs.jsonl", mkdir=False), GenericDoc)
    ir_datasets.registry.register("limbeck-race", Dataset(documents))
    queries = JsonlQueries(LocalDownload(home / "queries.jsonl", mkdir=False))
    qrels = TrecQrels(LocalDownload(home / "qrels", mkdir=False), {0: "no", 1: "yes"})
    ir_datasets.registry.register("limbeck-race/test", Dataset(documents, queries, qrels))
    yield "limbeck-race"
    ir_datasets.registry._registered.clear()
    ir_datasets.registry._registered.update(registered)


def test_processes_that_open_a_cold_id_of_ir_datasets_at_the_same_moment(identifier, tmp_path):
    store = Path("home/docs.jsonl.pklz4")
    for repeat in range(3):
        shutil.rmtree(store, ignore_errors=True)
        work = lambda: right(identifier, tmp_path / "cache")  # noqa: E731
        assert together(4, work, killed=repeat % 3) == [0] * (4 - repeat % 3)
        assert damage(store) is None
        assert right(identifier, tmp_path / "cache")


@pytest.mark.parametrize("name", ["bin", "bin.pos", "idx.doc_id.key", "idx.doc_id.pos", "idx.doc_id.meta"])
def test_a_damaged_store_of_ir_datasets_is_named_and_built_again(identifier, tmp_path, caplog, name):
    assert right(identifier, tmp_path / "cache")
    store = Path("home/docs.jsonl.pklz4")
    content = (store / name).read_bytes()
    (store / name).write_bytes(content[: len(content) // 2])
    assert right(identifier, tmp_path / "cache")
    (said,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert said.startswith(f"{store} is damaged (")


def test_a_store_that_two_processes_wrote_into_is_damaged(identifier, tmp_path):
    """What ir_datasets by itself leaves when the second process opened the store before the first had filled it."""
    documents = ir_datasets.load(identifier)
    first, second = (documents.docs_store(options=DocstoreOptions(file_access=FileAccess.FILE)) for _ in range(2))
    assert not first.built()
    assert not second.built()
    rows = list(documents.docs_iter())
    first.build()
    with second.lookup.transaction() as transaction:
        for row in rows:
            transaction.add(row)
    store = Path("home/docs.jsonl.pklz4")
    assert (damage(store) or "") == "several processes wrote into it: 300 documents, 150 ids"
    assert right(identifier, tmp_path / "cache")
    assert damage(store) is None


def test_fields_that_ir_datasets_cannot_compare_name_the_store(identifier, tmp_path):
    assert right(identifier, tmp_path / "cache")
    (tmp_path / "home" / "docs.jsonl.pklz4" / "bin.meta").write_text("doc")
    with pytest.raises(ConfigError, match=r"docs.jsonl.pklz4\); delete it"):
        opened(identifier, tmp_path / "cache")


def test_a_read_only_home_of_ir_datasets_is_read(identifier, tmp_path):
    assert right(identifier, tmp_path / "cache")
    with read_only(tmp_path / "home"):
        assert together(2, without_rights(tmp_path, lambda: right(identifier, Path("cache")))) == [0, 0]
