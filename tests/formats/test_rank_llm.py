"""RankLLM's results: orders without scores, several of one list."""

import itertools
import json
import random

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.formats.faults import Faults
from limbeck.formats.rank_llm import RankLLM, kendall_w, mean_ranks
from limbeck.scores.writer import Provenance, write_store
from limbeck.teachers.store import StoreTeacher


def result(query, *documents):
    # the first stage's scores, handed out anew: not the teacher's
    candidates = [{"docid": d, "score": 90.0 - i, "doc": {"contents": "a text"}} for i, d in enumerate(documents)]
    return {"query": {"text": "a query", "qid": query}, "candidates": candidates}


def store(path, *files):
    source = RankLLM(path)
    whose = Provenance("RankZephyr", source.kind)
    return write_store(path, source.blocks(list(files), Faults()), whose, notes=source.finish)


@pytest.mark.parametrize("layout", ["jsonl", "json", "indented"])
def test_one_permutation_is_its_order(tmp_path, layout):
    results = [result(7, "b", "a", "c"), result("q8", 12, 11)]
    text = {
        "jsonl": "".join(json.dumps(each) + "\n" for each in results),
        "json": json.dumps(results),
        "indented": "\ufeff" + json.dumps(results, indent=2, ensure_ascii=False),
    }[layout]
    file = tmp_path / "results"
    file.write_text(text, encoding="utf-8")
    found = store(tmp_path / "store", file)
    rows = {query: (ids, scores.tolist(), ranks.tolist()) for query, ids, scores, ranks in found}
    assert rows == {"7": (["b", "a", "c"], [-1, -2, -3], [1, 2, 3]), "q8": (["12", "11"], [-1, -2], [1, 2])}
    assert found.meta["kind"] == "rank"
    assert found.meta["permutations"] == {"per_query": [1, 1.0, 1], "kendall_w": None}


def test_several_permutations_are_averaged(tmp_path):
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    files[0].write_text(json.dumps(result("q", "a", "b", "c")) + "\n")
    files[1].write_text(json.dumps(result("q", "b", "a", "c")) + "\n" + json.dumps(result("q", "c", "b", "a")) + "\n")
    found = store(tmp_path / "store", *files)
    (ids, scores, ranks) = found.ranking("q")
    assert dict(zip(ids, scores.tolist(), strict=True)) == pytest.approx({"b": -5 / 3, "a": -2, "c": -7 / 3})
    assert ranks.tolist() == [1, 2, 3]
    assert found.meta["permutations"]["per_query"] == [3, 3.0, 3]
    order = StoreTeacher(path=str(found.path), use="ranks").score(["q"], [["a", "b", "c", "d"]])[0]
    assert order.tolist()[:3] == [-2, -1, -3]
    assert np.isnan(order[3])


def test_documents_of_equal_mean_share_a_rank_and_stay_tied(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(result("q", *order)) + "\n" for order in ("abcd", "bacd")))
    found = store(tmp_path / "store", file)
    assert found.ranking("q")[2].tolist() == [1, 1, 3, 4]
    teacher = StoreTeacher(path=str(found.path), use="ranks")
    assert teacher.score(["q"], [["d", "b", "a"]])[0].tolist() == [-4, -1, -1]


def test_a_document_that_a_permutation_lacks_is_behind_its_last():
    assert mean_ranks([["a", "b", "c"], ["c", "a"]]) == {"a": 1.5, "b": 2.5, "c": 2.0}


def test_the_mean_rank_is_bordas_order_and_the_nearest_by_squares():
    rng = random.Random(1)
    documents = list("abcde")
    for _ in range(20):
        orders = [rng.sample(documents, 5) for _ in range(4)]
        means = mean_ranks(orders)
        borda = {d: sum(5 - order.index(d) for order in orders) for d in documents}
        assert {d: 4 * (6 - mean) for d, mean in means.items()} == pytest.approx(borda)

        def far(order, orders=orders):
            return sum((order.index(d) - each.index(d)) ** 2 for each in orders for d in documents)

        best = min(far(list(order)) for order in itertools.permutations(documents))
        assert far(sorted(documents, key=means.__getitem__)) == best


def test_kendalls_w():
    assert kendall_w([list("abcd")] * 3) == pytest.approx(1)
    assert kendall_w([list("abcd"), list("dcba")]) == pytest.approx(0)
    assert kendall_w([["a"], ["a"]]) == 1
    # Kendall and Babington Smith: three judges, six objects
    ranks = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 2, 4, 3], [6, 3, 2, 5, 4, 1]])
    orders = [[str(d) for d in np.argsort(row)] for row in ranks]
    sums = ranks.sum(0)
    assert kendall_w(orders) == pytest.approx(12 * ((sums - sums.mean()) ** 2).sum() / (9 * (216 - 6)))


BAD = {
    "not JSON": ("{", "is no JSON"),
    "a history": (
        json.dumps({"query": {"qid": "q"}, "invocations_history": []}),
        "scores.txt: this is .*history of prompts.*file of",
    ),
    "a request without candidates": (json.dumps({"query": {"qid": "q"}, "candidates": []}), "no list of candidates"),
    "a query that is a text": (json.dumps({"query": "q", "candidates": []}), "has no object 'query'"),
    "no id": (json.dumps({"query": {"text": "a"}, "candidates": [{"docid": 1}]}), "has no 'qid'"),
    "a fraction": (json.dumps({"query": {"qid": 1.5}, "candidates": [{"docid": 1}]}), "1.5 is no id"),
    "a document twice": (json.dumps(result("q", "a", "b", "a")), "has document 'a' twice: it is no permutation"),
    "candidates of another kind": (json.dumps({"query": {"qid": 1}, "candidates": ["d1"]}), "is built in another way"),
    "half an array": ('[{"query": {"qid": 1}', "is no whole JSON array"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(rows, made, case):
    text, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        rows("rank_llm", made(text))


def test_bad_lines_are_skipped_if_asked_to(rows, made):
    found, faults = rows("rank_llm", made("{", json.dumps(result("q", "a", "b"))), on_error="skip")
    assert found == [("q", "a", -1.0, 1), ("q", "b", -2.0, 2)]
    assert faults.count == 1
    assert ":1: is no JSON" in faults.places[0]
