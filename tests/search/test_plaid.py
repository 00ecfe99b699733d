"""What PLAID finds and what it makes of its scores, beside exact MaxSim; run where fast-plaid is (``make plaid``)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from search_worlds import DOCUMENTS, QUERIES, needs_plaid, student, tokenizer, world

from limbeck.compare import products
from limbeck.config import ConfigError
from limbeck.data.folder import documents as read_documents
from limbeck.encodings import join
from limbeck.evaluation.runs import read_run
from limbeck.inference import encode
from limbeck.search.backend import build, folder
from limbeck.search.exact import Exact
from limbeck.search.plaid import Plaid
from limbeck.search.ranking import search
from limbeck.search.shards import Store
from limbeck.text.collate import Collator

pytestmark = needs_plaid
ALL = 10**6
"""More centroids than there are."""

TEXTS = {**DOCUMENTS, "empty": "", "same-b": DOCUMENTS["d-7"], "same-a": DOCUMENTS["d-7"]}
ASKED = {**QUERIES, "nothing": ""}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def made(tokens, tmp_path_factory):
    """A collection with an empty document and three that are the same; a query of no words among others."""
    made = world("multi", tokens, tmp_path_factory.mktemp("index") / "multi", documents=TEXTS)
    collator = Collator(tokens, made.collator.style, lambda ids: [ASKED[name] for name in ids], lambda _: [])
    return made._replace(query_ids=list(ASKED), queries=encode(made.ranker, collator, list(ASKED), "query"))


def found(made, backend, depth=20):
    build(backend, made.store)
    return search(backend, made.ranker, made.query_ids, made.queries, made.store, depth)


def exact_scores(made):
    """Return MaxSim of every document, by query and id."""
    scores = products(made.ranker, made.queries, join([shard.rows for shard in made.store.shards()])).numpy()
    names = [name for shard in made.store.shards() for name in shard.ids.all()]
    return {
        query: dict(zip(names, line.tolist(), strict=True)) for query, line in zip(made.query_ids, scores, strict=True)
    }


@pytest.mark.parametrize(("bits", "worst"), [(1, 0.5), (2, 0.4), (4, 0.2), (8, 0.1)])
@pytest.mark.parametrize("depth", [len(TEXTS), 5 * len(TEXTS)])
def test_scores_are_maxsim_of_the_right_documents_up_to_quantisation(bits, worst, depth, made):
    """Scores here are up to 16: eight vectors a query, scale 2."""
    wanted = exact_scores(made)
    run = found(made, Plaid(bits=bits, probe=ALL), depth)
    assert list(run) == list(ASKED)
    for query, (ids, scores) in run.items():
        assert sorted(ids) == sorted(TEXTS)
        assert np.isfinite(scores).all()
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, [wanted[query][name] for name in ids], atol=worst)


def test_the_same_documents_have_the_same_score_and_go_by_id(made):
    for ids, scores in found(made, Plaid(probe=ALL), len(TEXTS)).values():
        first = ids.index("same-b")
        assert ids[first : first + 2] == ["same-b", "same-a"]  # as trec_eval orders them
        by_id = dict(zip(ids, scores, strict=True))
        assert by_id["d-7"] == by_id["same-a"] == by_id["same-b"]


@pytest.mark.parametrize("depth", [1, 40, 100, 233])
def test_as_many_are_found_as_are_asked_for(depth, made):
    """fast-plaid scores a quarter of ``n_full_scores`` by their vectors and gives no others back."""
    run = found(made, Plaid(probe=ALL, scored=1), depth)
    assert {len(ids) for ids, _ in run.values()} == {depth}


def test_more_probes_find_more(made):
    shares = []
    wanted = found(made, Exact())
    for probe in (1, 2, 4, 8, 32):
        run = found(made, Plaid(bits=8, probe=probe))
        shares.append(np.mean([len({*run[query].ids} & {*ranking.ids}) / 20 for query, ranking in wanted.items()]))
    assert shares[0] < 0.7
    assert shares == sorted(shares)
    assert shares[-1] > 0.95


def test_a_query_alone_finds_what_it_finds_among_others(made):
    together = found(made, Plaid())
    for number, query in enumerate(made.query_ids):
        alone = made._replace(query_ids=[query], queries=made.queries.part(number, number + 1))
        ids, scores = found(alone, Plaid())[query]
        assert ids == together[query].ids
        np.testing.assert_array_equal(scores, together[query].scores)


def test_half_precision_changes_little(made, tokens, tmp_path):
    half = world("multi", tokens, tmp_path / "half", documents=TEXTS, dtype="float16")._replace(
        query_ids=made.query_ids, queries=made.queries
    )
    wanted, run = found(made, Plaid(probe=ALL)), found(half, Plaid(probe=ALL))
    assert np.mean([len({*run[query].ids} & {*ranking.ids}) / 20 for query, ranking in wanted.items()]) > 0.9


def test_the_same_vectors_give_the_same_bytes_and_no_pickle(made, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        Plaid().build(made.store, tmp_path / name)
    one, other = (contents(tmp_path / name) for name in ("one", "other"))
    assert one == other
    arrays = [path for path in (tmp_path / "one").rglob("*.npy") if np.load(path, allow_pickle=False) is not None]
    assert len(arrays) >= 7


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_searching_writes_nothing_into_the_index(made):
    place = build(Plaid(), made.store)
    before = contents(place)
    found(made, Plaid())
    assert contents(place) == before


@pytest.mark.parametrize("size", [None, 0, 20])
def test_a_damaged_index_is_named(size, made, tmp_path, capfd):
    built = build(Plaid(), made.store)
    names = json.loads((built / "sizes.json").read_text())
    assert {"centroids.npy", "ivf.npy", "merged_codes.npy", "merged_residuals.npy", "metadata.json"} < set(names)
    shutil.copytree(made.store.path, tmp_path / "whole")
    store = Store(tmp_path / "whole")
    place = folder(Plaid(), store)
    for path in [place / "sizes.json", *(place / "plaid" / name for name, held in names.items() if held > 20)]:
        content = path.read_bytes()
        path.unlink()
        if size is not None:
            path.write_bytes(content[:size])
        with pytest.raises(ConfigError, match=rf"{place.name} cannot be read .*; delete it and run the limbeck index"):
            found(made._replace(store=store), Plaid())
        path.write_bytes(content)
    assert found(made._replace(store=store), Plaid())
    assert capfd.readouterr().out == ""


# -- by the command, and on a real collection --------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_while_it_is_built_and_repeated(limbeck, cache, tmp_path):
    """SIGKILL between the first file of fast-plaid and the rename; the repeat ends with the bytes of a whole build."""
    words = ["data.world.documents=2000", "data.world.topics=6", "student=colbert", "student.dimension=16"]
    words += ["backbone.width=16", "backbone.layers=1", "backbone.heads=2", f"paths.cache={cache}", "accelerator=cpu"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, _, err = limbeck("index", *words, f"out={killed}", small=False)
    assert status == 0, err
    shutil.copytree(killed, whole)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "limbeck", "index", *words, "backend=plaid", f"out={killed}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        until = time.monotonic() + 120
        while not list(killed.glob(".plaid-*.building/plaid/*.json")) and time.monotonic() < until:
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not list(killed.glob("plaid-*"))
    status, _, err = limbeck("search", f"index={killed}", "out=none.trec", "backend=plaid", small=False)
    assert status == 2
    assert "has no plaid index of these options; build it by" in err
    for place in (killed, whole):
        status, _, err = limbeck("index", *words, "backend=plaid", f"out={place}", small=False)
        assert status == 0, err
        assert "encoded 0 of 2,000 documents" in err
    assert not list(killed.glob(".plaid-*.building"))
    ours, theirs = (next(place.glob("plaid-*")) for place in (killed, whole))
    assert contents(ours) == contents(theirs)
    found = [f"index={killed}", f"paths.cache={cache}", "accelerator=cpu", "depth=50", "timed=2"]
    for backend, out in (("plaid", "plaid.trec"), ("exact", "exact.trec")):
        status, _, err = limbeck("search", *found, f"backend={backend}", f"out={out}", small=False)
        assert status == 0, err
    runs = [read_run(tmp_path / name) for name in ("plaid.trec", "exact.trec")]
    assert np.mean([len({*runs[0][q].ids[:10]} & {*runs[1][q].ids[:10]}) / 10 for q in runs[1]]) > 0.7


@pytest.mark.slow
def test_a_real_collection(shared, tokens, tmp_path):
    """Cranfield, a student of random weights: of the exact top 10, more are found with more probes."""
    folder = read_documents(shared / "cranfield", tmp_path / "documents.pklz4")
    texts = {document.doc_id: document.default_text() for document in folder.docs_iter()}
    lines = (shared / "cranfield" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    asked = {each["_id"]: each["text"] for each in map(json.loads, lines)}
    ranker, _ = student("multi", tokens)
    made = world("multi", tokens, tmp_path / "index", documents=texts, shard_size=500)
    collator = Collator(tokens, ranker.style, lambda ids: [asked[name] for name in ids], lambda _: [])
    made = made._replace(query_ids=list(asked), queries=encode(ranker, collator, list(asked), "query"))
    wanted = found(made, Exact(), 10)
    shares = [
        np.mean([len({*run[query].ids} & {*ranking.ids}) / 10 for query, ranking in wanted.items()])
        for run in (found(made, Plaid(probe=probe), 10) for probe in (1, 8, 64))
    ]
    assert len(wanted) == 225
    assert shares == sorted(shares)
    assert shares[-1] > 0.6
