"""A server as teacher, against a server that runs: its forms, its faults, its death in the middle."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.scores.store import ScoreStore
from limbeck.teachers.base import Pair
from limbeck.teachers.rerank_api.teacher import ServerTeacher
from limbeck.teachers.scoring import score_into
from small import WORLD

SCRIPT = Path(__file__).with_name("rerank_server.py")
QUERIES = {f"q{i}": f"what is {i}?" for i in range(9)}
DOCUMENTS = {f"d{i}": f"document {i} é" for i in range(30)}
LISTS = {query: [f"d{(i * 7 + j) % 30}" for j in range(i * 2 + 1)] for i, query in enumerate(QUERIES)}
PAIRS = sum(map(len, LISTS.values()))


@contextmanager
def serving(model="first", dies_after=0, port=0):
    process = subprocess.Popen(
        [sys.executable, "-S", SCRIPT, model, str(dies_after), str(port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def port():
    with serving() as port:
        yield port


def teacher(port, path="", form="tei", model="first", **options):
    options = {"retries": 0, "backoff": 0.0, "batch_size": 4, "concurrency": 3} | options
    texts = [lambda ids, of=of: [of[each] for each in ids] for of in (QUERIES, DOCUMENTS)]
    return ServerTeacher(*texts, url=f"http://127.0.0.1:{port}{path}", form=form, model=model, **options)


def expected(model="first"):
    code = f"import sys; sys.argv[1:] = ['{model}']; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
    scope = {}
    argv = sys.argv
    try:
        exec(code + "import importlib, rerank_server; score = importlib.reload(rerank_server).score", scope)
    finally:
        sys.argv = argv
    return {(q, d): scope["score"](QUERIES[q], DOCUMENTS[d]) for q, ds in LISTS.items() for d in ds}


def content(store):
    return {(q, d): s for q, ids, scores, _ in store for d, s in zip(ids, scores.tolist(), strict=True)}


def stored(path, teacher, lists=LISTS, **options):
    return score_into(path, teacher, lists, teacher.provenance("c0", "limbeck score"), **options)


FORMS = [
    ("tei", ""), ("tei", "/rerank"), ("vllm_score", ""), ("vllm_score", "/v1/score"), ("vllm_rerank", ""),
    ("vllm_rerank", "/v1/rerank"), ("vllm_rerank", "/v2/rerank/"), ("jina", ""),
]  # fmt: skip


@pytest.mark.parametrize(("form", "path"), FORMS)
@pytest.mark.parametrize("raw", [True, False])
def test_each_form(port, tmp_path, form, path, raw):
    store = stored(tmp_path / "store", teacher(port, path, form, raw_scores=raw))
    wanted = expected()
    if not raw and form != "jina":
        wanted = {pair: 1 / (1 + np.exp(-logit)) for pair, logit in wanted.items()}
    assert content(store) == pytest.approx(wanted, rel=1e-6)
    kind = "unknown" if form == "jina" else "logit" if raw else "probability"
    assert (store.meta["teacher"], store.meta["kind"], store.meta["collection"]) == ("first", kind, "c0")


def test_texts_are_put_into_templates(port, tmp_path):
    made = teacher(port, query_template="<q>{query}</q>", document_template="<d>{document}")
    assert stored(tmp_path / "store", made).meta["prompt"] == "<q>{query}</q> <d>{document}"
    (scores,) = made.score(["q1"], [["d1"]])
    plain = teacher(port)
    assert scores[0] != plain.score(["q1"], [["d1"]])[0][0]
    assert made.identity() != plain.identity()


def test_where_it_is_served_is_no_part_of_what_it_is(port):
    assert teacher(port).identity() == teacher(1, "/x/rerank", batch_size=1, concurrency=1, retries=3).identity()


def test_requests_go_out_together_but_no_more_than_allowed(port):
    (scores,) = teacher(port, "/together/rerank", batch_size=1, concurrency=3).score(["q1"], [["d1", "d2", "d3"]])
    assert len(set(scores.tolist())) == 3  # with fewer at once the server would wait for ever


def test_a_busy_server_is_asked_again(port, tmp_path):
    store = stored(tmp_path / "store", teacher(port, "/flaky/rerank", retries=2))
    assert content(store) == pytest.approx(expected(), rel=1e-6)


@pytest.mark.parametrize("dies_after", [1, 9])
def test_killed_and_started_again_it_ends_with_the_same_store(port, tmp_path, dies_after):
    whole = stored(tmp_path / "whole", teacher(port))
    with serving(dies_after=dies_after) as own, pytest.raises(ConfigError, match="no server answers"):
        stored(tmp_path / "store", teacher(own), size=8)
    assert len(list((tmp_path / "store" / "parts").glob("*.arrow"))) == {1: 0, 9: 3}[dies_after]
    with serving(port=own) as again:
        store = stored(tmp_path / "store", teacher(again), size=8)
    assert store.checksum == whole.checksum


def test_a_model_that_has_changed_is_noticed_before_more_is_asked_for(port, tmp_path):
    some = dict(list(LISTS.items())[:5])
    before = stored(tmp_path / "store", teacher(port), some).checksum
    with serving("second") as other:
        with pytest.raises(ConfigError, match=r"\d+ of 20 pairs of the store have other scores now: query 'q\d'"):
            stored(tmp_path / "store", teacher(other))
        assert ScoreStore.open(tmp_path / "store").checksum == before
        with serving(dies_after=9) as dies, pytest.raises(ConfigError, match="no server answers"):
            stored(tmp_path / "parts", teacher(dies), size=8)
        with pytest.raises(ConfigError, match="other scores now"):
            stored(tmp_path / "parts", teacher(other), size=8)
        stored(tmp_path / "lax", teacher(port), some)
        stored(tmp_path / "lax", teacher(other, tolerance=5.0))
    assert content(stored(tmp_path / "store", teacher(port))) == pytest.approx(expected(), rel=1e-6)


def test_pairs_whose_scores_differ_by_rounding_are_the_same(port):
    made = teacher(port)
    known = [Pair(*pair, float(np.float16(score))) for pair, score in list(expected().items())[:20]]
    made.check_same(known)
    known[3] = Pair(known[3].query, known[3].document, known[3].score + 1)
    with pytest.raises(ConfigError, match="1 of 20 pairs"):
        made.check_same(known)


FAULTS = {
    "nan": "the score of document . is nan, no finite number",
    "null": "the score of document . is None",
    "text": "the score of document . is '1.5'",
    "fewer": "the answer has 3 scores for 4 documents, and none of document",
    "twice": "the answer has the index . twice",
    "beyond": "the answer has the index 4, of 4 documents that count from 0",
    "noindex": "has an element with score",
    "columns": r'should be \[{"index": 0, "score": 1.5}, …\], and has an element with index, relevance .*teacher.form',
    "wrapped": "and is an object with the keys output",
    "scores": "and is a list that does not hold objects",
    "html": "the answer is no JSON but '<!doctype html><html>Sign in</html>'; teacher.url must be",
    "302": "302 .*: the server redirects to http://elsewhere/rerank; set teacher.url to that",
    "401": "401 .*: the server requires a key; teacher.bearer_from=NAME",
    "403": "403 .*: the server requires a key",
    "404": "404 .*: nothing is here, or not this model; see teacher.form",
    "413": "413 .*: the server refuses the request; see teacher.form, teacher.model, teacher.batch_size",
    "429": "429 .*, tried 2 times: it is too busy; lower teacher.concurrency",
    "500": "500 .*, tried 2 times: the server failed; look at its log",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_server_may_answer(port, fault):
    with pytest.raises(ConfigError, match=FAULTS[fault]) as caught:
        teacher(port, f"/{fault}/rerank", retries=1).score(["q3"], [["d1", "d2", "d3", "d4"]])
    message = str(caught.value)
    assert message.startswith(f"teacher: http://127.0.0.1:{port}/{fault}/rerank: ")
    assert "\n" not in message
    assert "object at 0x" not in message


def test_a_server_that_is_not_there_or_slow(port):
    with serving() as gone:
        pass
    with pytest.raises(ConfigError, match=r"no server answers \(Connection refused\), tried 3 times; start it"):
        teacher(gone, retries=2).score(["q1"], [["d1"]])
    with pytest.raises(ConfigError, match=r"no answer in 0.05 s, tried once; lower teacher.batch_size"):
        teacher(port, "/slow/rerank", timeout=0.05).score(["q1"], [["d1"]])
    texts = [lambda ids: ["a"]] * 2
    for url, message in (
        ("localhost:80", "is no address"), ("ftp://localhost", "is no address"), ("http://", "is no address"),
        ("http://no.such.host.invalid", "no server answers"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            ServerTeacher(*texts, url=url, form="tei", model="m", retries=0).score(["q"], [["d"]])


def test_the_key_is_sent_but_neither_shown_nor_stored(port, tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_THE_TEST", "s3cret-of-the-test")
    made = teacher(port, "/key/rerank", bearer_from="KEY_OF_THE_TEST")
    stored(tmp_path / "store", made)
    assert b"s3cret" not in b"".join(file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file())
    with pytest.raises(ConfigError, match=r"the server refuses the key in \$KEY_OF_THE_TEST") as caught:
        teacher(port, "/401/rerank", bearer_from="KEY_OF_THE_TEST").score(["q1"], [["d1"]])
    assert "no Bearer (left out)" in str(caught.value)
    with pytest.raises(ConfigError, match="must name an environment variable") as caught:
        teacher(port, bearer_from="s3cret-of-the-test")
    assert "s3cret" not in str(caught.value)


def test_a_server_that_applies_a_sigmoid_unasked(port):
    lists = [list(DOCUMENTS)] * len(QUERIES)
    with pytest.raises(ConfigError, match=r"of the kind logit were requested, but the scores look like probabil.*raw"):
        teacher(port, "/disobeys/rerank").score(list(QUERIES), lists)
    teacher(port, "/disobeys/rerank", kind="probability").score(list(QUERIES), lists)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "openai"}, "form must be one of tei, "),
        ({"kind": "sigmoid"}, "kind must be one of logit, "),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"concurrency": 0}, "concurrency must be >= 1"),
        ({"retries": -1}, "retries must be >= 0"),
        ({"backoff": float("nan")}, "backoff must be >= 0"),
        ({"timeout": 0.0}, "timeout must be > 0"),
        ({"query_template": "query"}, re.escape("query_template must have {query} in it")),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        teacher(1, **options)


def test_from_the_command_line(port, limbeck, cache, tmp_path):
    words = ["teacher=server", f"teacher.url=http://127.0.0.1:{port}", "teacher.form=vllm_rerank", "teacher.model=tiny"]
    words += ["teacher.batch_size=200"]
    world = [*WORLD, f"paths.cache={cache}", "accelerator=cpu"]
    status, out, err = limbeck("score", *world, *words, "out=store", small=False)
    assert status == 0, err
    assert "(logit)" in out + err
    store = ScoreStore.open(tmp_path / "store")
    status, out, err = limbeck("score", *world, *words, "splits=[test]", "out=store", small=False)
    assert status == 0, err
    assert "20 known pairs were scored again and have the same scores" in out + err
    assert len(ScoreStore.open(tmp_path / "store")) > len(store)
    words += ["teacher.store=store", "teacher.url=http://127.0.0.1:1", "loss=kl", "trainer.steps=1"]
    status, _, err = limbeck("train", *words, "trainer.validate_every=0", "eval.start=false")
    assert status == 0, err  # all is in the store: nobody is asked
