"""Kept tokens: the same rows as without, made once, shared, and never trusted blindly."""

import errno
import json
import logging
import multiprocessing
import os
import pickle
import random
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from jumping import lines, listening
from limbeck.backbones.sources import load_tokenizer
from limbeck.backbones.tiny import Tiny
from limbeck.config import ConfigError
from limbeck.data.opening import Data
from limbeck.inference import encode, score_lists
from limbeck.search.encoding import encode_into
from limbeck.search.shards import Store
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.text import token_store
from limbeck.text.cache import WORTH, TokenCache
from limbeck.text.collate import Collator, Example
from limbeck.text.text_format import TextFormat
from limbeck.text.token_store import MOST, TokenStore
from limbeck.text.tokenizer import TextTokenizer, train_wordpiece

DRAW = random.Random(0)
WORDS = ["".join(DRAW.choices("abcdefghij", k=DRAW.randint(1, 7))) for _ in range(300)]
DOCUMENTS = {
    **{str(i): " ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 60))) for i in range(70)},
    "d-empty": "",
    "d-spaces": "  \t ",
    "d-signs": "Él niño — 北京大学! [MASK] don't\n\n🙂 naïve, 1.5°C <s>",
    "007": "cab " * 40,
}
QUERIES = {f"q{i}": " ".join(DRAW.choices(WORDS, k=4)) for i in range(20)}
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


@dataclass
class Corpus:
    """Texts in memory."""

    documents: dict[str, str]
    queries: dict[str, str]
    name: str = "made up"

    def _of(self, role):
        return self.documents if role == "document" else self.queries

    def count(self, role):
        return len(self._of(role))

    def texts(self, role):
        return iter(self._of(role).items())

    def content(self, role):
        return json.dumps(self._of(role))


class Counting(TextTokenizer):
    """Counts the texts that it is given."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer)
        self.seen = 0

    def plain(self, texts, length=None):
        if hasattr(self, "seen"):
            self.seen += len(texts)
        return super().plain(texts, length)


CORPUS = Corpus(DOCUMENTS, QUERIES)


def never(ids):
    raise AssertionError(f"the texts of {ids} were looked up")


def documents_of(ids):
    return [DOCUMENTS[name] for name in ids]


def queries_of(ids):
    return [QUERIES[name] for name in ids]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_wordpiece(DOCUMENTS.values(), 150, path)
    return path


@pytest.fixture
def tokenizer(folder):
    return load_tokenizer(str(folder))


def wordpiece(folder, _):
    return load_tokenizer(str(folder))


def bert(_, shared):
    return TextTokenizer(PreTrainedTokenizerFast(tokenizer_file=str(shared / "bert-vocab/tokenizer.json"), **SPECIAL))


def byte_level(_, __, side="right"):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(DOCUMENTS.values(), trainer)
    return TextTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", truncation_side=side
        )
    )


def from_the_left(folder, shared):
    return byte_level(folder, shared, "left")


def large(_, __):
    """Ids that do not fit into two bytes."""
    made = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, **{f"w{i}": i for i in range(2, 70_000)}}, "[UNK]"))
    made.add_tokens(WORDS)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return TextTokenizer(PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"))


@pytest.mark.parametrize("make", [wordpiece, bert, byte_level, from_the_left, large])
def test_rows_equal_those_of_the_tokenizer(make, folder, request, tmp_path):
    tokenizer = make(folder, request.getfixturevalue("shared") if make is bert else None)
    texts = DOCUMENTS | {"long": " ".join(DRAW.choices(WORDS, k=MOST + 50)), "1" * 30: "cab"}
    token_store.write(tmp_path, texts.items(), tokenizer, prefix="cab: ", total=len(texts), what="documents")
    store = TokenStore(tmp_path, left=tokenizer.cuts_left)
    ids = DRAW.sample(list(texts), len(texts))
    for length in (1, 2, 7, 30, MOST):
        expected = tokenizer.plain([f"cab: {texts[name]}" for name in ids], length)
        found = store.rows(ids, length)
        assert [row.tolist() for row in found] == [row.tolist() for row in expected]
    assert len(found[ids.index("long")]) == MOST
    assert found[0].dtype == tokenizer.dtype == (np.int32 if make is large else np.uint16)
    assert [row is None for row in store.rows(["7", "0007", "nowhere", "70"], 5)] == [False, True, True, True]


def test_batches_equal_those_without(tokenizer, artefacts):
    """Bit by bit, for separate texts, with markers, augmentation and prefixes, and for pairs."""
    first, second = list(DOCUMENTS)[:9], list(DOCUMENTS)[5:74]
    examples = [Example("q1", first, [1] + [0] * 8), Example("q4", second, [2] + [0] * 68, [0.5] * 69, [*range(1, 70)])]
    plain = TextFormat(False, document_length=20)
    colbert = ColBERT(lambda task: Tiny(width=16, layers=1, heads=2).model(tokenizer, task), query_length=9).style
    marked = replace(colbert, document_marker=tokenizer.tokenizer.unk_token)
    for style in (plain, replace(plain, query_prefix="a ", document_prefix="b "), marked, TextFormat(True, "a ")):
        direct = Collator(tokenizer, style, queries_of, documents_of)
        kept = Collator(tokenizer, style, never, never, TokenCache(artefacts, tokenizer, CORPUS))
        assert kept.prepare("query")
        assert kept.prepare("document")
        assert not direct.prepare("document")
        assert_same(kept(examples), direct(examples))
        assert_same(pickle.loads(pickle.dumps(kept))(examples), direct(examples))
    assert_same(next(iter(DataLoader(examples, 2, collate_fn=kept, num_workers=1))), direct(examples))


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    elif hasattr(one, "__dataclass_fields__"):
        for each in fields(one):
            assert_same(getattr(one, each.name), getattr(other, each.name))
    else:
        assert one == other


@pytest.mark.parametrize("make", [Dense, CrossEncoder])
def test_scores_and_encodings_equal_those_without(make, tokenizer, artefacts, tmp_path):
    torch.manual_seed(0)
    student = make(lambda task: Tiny(width=16, layers=1, heads=2).model(tokenizer, task)).eval()
    direct = Collator(tokenizer, student.style, queries_of, documents_of)
    kept = Collator(tokenizer, student.style, never, never, TokenCache(artefacts, tokenizer, CORPUS))
    lists = {query: DRAW.sample(list(DOCUMENTS), 12) for query in QUERIES}
    expected, found = score_lists(student, direct, lists), score_lists(student, kept, lists)
    assert all(np.array_equal(expected[query], found[query]) for query in lists)
    if make is CrossEncoder:
        return
    values = [encode(student, each, list(DOCUMENTS), "document").arrays()["values"] for each in (direct, kept)]
    assert torch.equal(*values)
    identity = {"kind": "dense", "dtype": "float32", "shard_size": 30, "weights": "w", "student": {}}
    for name, each in (("direct", direct), ("kept", kept)):
        assert encode_into(Store.open(tmp_path / name, identity, {}), student, each, DOCUMENTS.items()).finished
    files = [file.relative_to(tmp_path / "kept") for file in (tmp_path / "kept").rglob("*.npy")]
    assert files
    assert all((tmp_path / "kept" / file).read_bytes() == (tmp_path / "direct" / file).read_bytes() for file in files)


def test_texts_are_tokenised_once(folder, artefacts, caplog):
    def job():
        tokenizer = Counting(load_tokenizer(str(folder)).tokenizer)
        collator = Collator(tokenizer, TextFormat(False), queries_of, never, TokenCache(artefacts, tokenizer, CORPUS))
        before = tokenizer.seen
        collator.prepare("document")
        for _ in range(3):
            collator.document_rows(list(DOCUMENTS))
        return tokenizer.seen - before

    with caplog.at_level(logging.INFO):
        assert job() == len(DOCUMENTS)
    assert "documents of made up: 74 texts, " in caplog.text
    assert " texts/s" in caplog.text
    caplog.clear()
    assert [job(), job()] == [0, 0]
    assert caplog.text == ""


def test_progress_and_disk_in_a_log(tokenizer, artefacts, monkeypatch, caplog):
    monkeypatch.setattr(token_store, "_BLOCK_TEXTS", 30)
    with listening(caplog):
        store = TokenCache(artefacts, tokenizer, CORPUS).open("document", "", None)
    estimate, *shares, _ = lines(caplog, "tokenising documents of made up")
    assert [share.split(" %")[0] for share in shares] == ["40", "81", "100"]
    # The first line is written when the first block is on the disk: 30 of 74 texts.
    said = float(re.search(r"([\d.]+) kB on disk", estimate)[1]) * 1000
    written = sum((store.path / name).stat().st_size for name in ("ids.bin", "keys.bin", "starts.bin", "lengths.bin"))
    assert said == pytest.approx(written, rel=0.3)


def test_small_jobs_tokenise_what_they_need(tokenizer, artefacts, caplog):
    cache = TokenCache(artefacts, tokenizer, CORPUS)
    few = int(WORTH * len(DOCUMENTS))
    collator = Collator(tokenizer, TextFormat(False), queries_of, documents_of, cache)
    with caplog.at_level(logging.INFO):
        assert not collator.prepare("document", 0)
        assert not collator.prepare("document", few)
        assert not collator.prepare("document", few)
        assert not collator.prepare("query", 1)
    assert caplog.messages == [
        "tokens: only 18 of 74 documents of made up are needed; they are tokenised on the fly and not cached"
    ]
    assert not list(artefacts.root.rglob("ids.bin"))
    assert len(collator.document_rows(["1"])) == 1
    assert collator.prepare("document", few + 1)
    assert Collator(tokenizer, TextFormat(True), queries_of, never, cache).prepare("document", 1)  # there already


def test_longer_texts_than_are_kept(tokenizer, artefacts):
    cache = TokenCache(artefacts, tokenizer, Corpus({"long": "cab " * 9000}, {}))
    collator = Collator(tokenizer, TextFormat(True, document_length=MOST + 1), never, lambda _: ["cab " * 9000], cache)
    assert not collator.prepare("document")
    assert len(collator.document_rows(["long"])[0]) == MOST + 1


def test_what_kept_tokens_depend_on(folder, artefacts):
    def path(tokenizer, role="document", prefix="", corpus=CORPUS):
        return TokenCache(artefacts, tokenizer, corpus).open(role, prefix, None).path

    tokenizer = load_tokenizer(str(folder))
    first = path(tokenizer)
    again = load_tokenizer(str(folder))
    again.tokenizer.name_or_path = "another name"
    again.tokenizer("cut and padded", truncation=True, max_length=9, padding="max_length")
    assert path(again) == first
    others = [path(tokenizer, prefix="a "), path(tokenizer, "query")]
    others.append(path(tokenizer, corpus=Corpus(DOCUMENTS | {"new": "cab"}, QUERIES)))
    more, cased, whole = (load_tokenizer(str(folder)).tokenizer for _ in range(3))
    more.add_tokens(["cab"])
    cased.backend_tokenizer.normalizer = None
    whole.split_special_tokens = True
    others += [path(TextTokenizer(each)) for each in (more, cased, whole)]
    assert len({first, *others}) == 7


def build(folder, artefacts, together, said):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads do not survive a fork
    tokenizer = Counting(load_tokenizer(str(folder)).tokenizer)
    before = tokenizer.seen
    together.wait(30)
    corpus = Corpus({f"d{i}": "cab bad " * 50 for i in range(3000)}, {})
    store = TokenCache(artefacts, tokenizer, corpus).open("document", "", None)
    said.put((len(store), tokenizer.seen - before))


def test_two_processes_make_one_artefact(folder, artefacts):
    context = multiprocessing.get_context("fork")
    together, said = context.Barrier(2), context.Queue()
    processes = [context.Process(target=build, args=(folder, artefacts, together, said)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(said.get(timeout=60) for _ in processes) == [(3000, 0), (3000, 3000)]
    for process in processes:
        process.join()
    tokens = artefacts.root / "tokens"
    assert len(list(tokens.glob("*/meta.json"))) == 1
    assert not list(tokens.glob(".*.parts"))


def test_what_was_begun_does_not_count(tokenizer, artefacts):
    class Broken(Corpus):
        def texts(self, role):
            yield from list(super().texts(role))[:30]
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        TokenCache(artefacts, tokenizer, Broken(DOCUMENTS, QUERIES)).open("document", "", None)
    store = TokenCache(artefacts, tokenizer, CORPUS).open("document", "", None)
    assert len(store) == len(DOCUMENTS)


@pytest.mark.parametrize("torn", [None, "ids.bin", "lengths.part", "keys.part"])
def test_a_killed_process_loses_the_block_at_work(folder, tokenizer, tmp_path, monkeypatch, torn):
    """Wherever the kill falls: a block is whole when its keys are there, which come last."""
    monkeypatch.setattr(token_store, "_BLOCK_TEXTS", 20)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()

    def write(target, tokenizer):
        token_store.write(target, DOCUMENTS.items(), tokenizer, total=len(DOCUMENTS), what="documents")

    write(whole, tokenizer)
    index = token_store._index
    monkeypatch.setattr(token_store, "_index", None)  # dies behind the last block
    with pytest.raises(TypeError):
        write(killed, tokenizer)
    monkeypatch.setattr(token_store, "_index", index)
    order = ["keys.part", "lengths.part", "ids.bin"]
    for name in order[: order.index(torn)] if torn else []:  # the block was never written there
        size = {"keys.part": 8 * 60, "lengths.part": 2 * 60}[name]
        os.truncate(killed / name, size)
    if torn:
        os.truncate(killed / torn, (killed / torn).stat().st_size - 3)
    counting = Counting(load_tokenizer(str(folder)).tokenizer)
    before = counting.seen
    write(killed, counting)
    assert counting.seen - before == (14 if torn in ("lengths.part", "ids.bin") else 1 if torn else 0)
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk(tokenizer, artefacts):
    class OnFullDisk(Corpus):
        def texts(self, role):
            (folder,) = (artefacts.root / "tokens").glob(".*.parts")
            (folder / "ids.bin").symlink_to("/dev/full")
            return super().texts(role)

    with pytest.raises(ConfigError, match=r"paths\.cache: the disk of .*tokens is full .* free some space") as caught:
        TokenCache(artefacts, tokenizer, OnFullDisk(DOCUMENTS, QUERIES)).open("document", "", None)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert not list((artefacts.root / "tokens").glob("*.unfinished"))


DAMAGES = [
    (name, damage)
    for name in ("tokens.json", "ids.bin", "keys.bin", "starts.bin", "lengths.bin")
    for damage in ("shorter", "foreign", "missing")
]


def harm(file, damage):
    whole = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(whole[:-3] if damage == "shorter" else b"[1, 2]\n" * 3000)


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_files_are_named(name, damage, tokenizer, artefacts):
    path = TokenCache(artefacts, tokenizer, CORPUS).open("document", "", None).path
    harm(path / name, damage)
    with pytest.raises(ConfigError, match=f"{path / name}: .*delete the folder {path} and run again"):
        TokenStore(path)


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_tokens_are_made_again(name, damage, tokenizer, artefacts, caplog):
    cache = TokenCache(artefacts, tokenizer, CORPUS)
    path = cache.open("document", "", None).path
    whole = (path / name).read_bytes()
    harm(path / name, damage)
    caplog.set_level("WARNING", "limbeck")
    assert len(cache.open("document", "", None)) == len(DOCUMENTS)
    assert (path / name).read_bytes() == whole
    assert f"{path} is damaged ({name} " in caplog.text


def test_a_saved_tokenizer_is_the_same_file_whatever_was_tokenised_before(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "before")
    tokenizer.plain(["a text"], 8192)
    tokenizer.save(tmp_path / "after")
    files = ("tokenizer.json", "tokenizer_config.json")
    assert [(tmp_path / "after" / name).read_bytes() for name in files] == [
        (tmp_path / "before" / name).read_bytes() for name in files
    ]


def test_an_index_that_points_outside(tokenizer, artefacts):
    cache = TokenCache(artefacts, tokenizer, CORPUS)
    file = cache.open("document", "", None).path / "starts.bin"
    file.write_bytes(b"\x7f" * file.stat().st_size)
    with pytest.raises(ConfigError, match=f"{file}: it points outside of the tokens; delete"):
        cache.open("document", "", None).rows(["1"], 5)


def test_ids_that_stand_twice_are_looked_up(tokenizer, artefacts):
    class Twice(Corpus):
        def texts(self, role):
            return iter([*super().texts(role), ("5", "another text")])

    cache = TokenCache(artefacts, tokenizer, Twice(DOCUMENTS, QUERIES))
    asked = []
    collator = Collator(tokenizer, TextFormat(True), never, lambda ids: asked.extend(ids) or documents_of(ids), cache)
    assert collator.prepare("document")
    direct = Collator(tokenizer, TextFormat(True), never, documents_of)
    rows, expected = (each.document_rows(["4", "5", "6", "5"]) for each in (collator, direct))
    assert [row.tolist() for row in rows] == [row.tolist() for row in expected]
    assert asked == ["5", "5"]


def test_of_a_real_collection(tokenizer, artefacts, tmp_path):
    """A document that is not there is named, with the tokens kept as without."""
    source = tmp_path / "set"
    (source / "qrels").mkdir(parents=True)
    documents = [{"_id": name, "title": "a", "text": text} for name, text in DOCUMENTS.items()]
    (source / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    queries = [{"_id": name, "text": text} for name, text in QUERIES.items()]
    (source / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in queries))
    for split, asked in (("train", ["q1", "q2"]), ("test", ["q3"])):
        lines = "".join(f"{query}\t1\t1\n" for query in asked)
        (source / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    opened = Data(collection=str(source), dev=None).open(artefacts)
    (source / "qrels" / "other.tsv").write_text("query-id\tcorpus-id\tscore\nq3\t1\t1\n")
    fewer = Data(collection=str(source), train=None, dev=None).open(artefacts)
    assert fewer.fingerprint != opened.fingerprint
    assert fewer.content("document") == opened.content("document")  # the same documents are not tokenised again
    assert fewer.content("query") != opened.content("query")
    cache = TokenCache(artefacts, tokenizer, opened)
    collator = Collator(tokenizer, TextFormat(True), opened.query_texts, opened.document_texts, cache)
    direct = Collator(tokenizer, TextFormat(True), opened.query_texts, opened.document_texts)
    assert collator.prepare("query")
    assert collator.prepare("document")
    for ids, rows in ((["q3", "q1"], "query_rows"), (list(DOCUMENTS), "document_rows")):
        found, expected = getattr(collator, rows)(ids), getattr(direct, rows)(ids)
        assert [row.tolist() for row in found] == [row.tolist() for row in expected]
    for each in (collator, direct):
        with pytest.raises(ConfigError, match="document 'nowhere' is not in the collection"):
            each.document_rows(["1", "nowhere"])
