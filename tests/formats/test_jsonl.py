"""The formats with one JSON value a line."""

import gzip
import json

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.formats import jsonl
from limbeck.formats.faults import Faults

SBERT = {
    "qid": 571018,
    "pos": [{"pid": 7349777, "ce-score": 10.5}],
    "neg": {
        "bm25": [{"pid": 6948601, "ce-score": -1.25}, {"pid": 5129919, "ce-score": 2}],
        "tas-b": [{"pid": 6948601, "ce-score": -1.25}],
    },
}
COLBERT = [121352, [2259784, 8.125], [4923159, -3], ["D5", 0.5]]
SIMLM = {
    "query_id": "1000094",
    "query": "where does real insulin come from",
    "positives": {"doc_id": ["5399011"], "score": [5.75]},
    "negatives": {"doc_id": ["4516279", "7674913"], "score": [-8.5, 1]},
}
FORMATS = {
    "sbert_hard_negatives": (
        SBERT,
        [
            ("571018", "7349777", 10.5),
            ("571018", "6948601", -1.25),
            ("571018", "5129919", 2.0),
            ("571018", "6948601", -1.25),
        ],
        [("571018", "7349777")],
    ),
    "colbert_64way": (
        COLBERT,
        [("121352", "2259784", 8.125), ("121352", "4923159", -3.0), ("121352", "D5", 0.5)],
        [],
    ),
    "simlm": (
        SIMLM,
        [("1000094", "5399011", 5.75), ("1000094", "4516279", -8.5), ("1000094", "7674913", 1.0)],
        [("1000094", "5399011")],
    ),
}


def changed(value, *path_and_new):
    *path, last, new = path_and_new
    copy = json.loads(json.dumps(value))
    at = copy
    for each in path:
        at = at[each]
    if new is KeyError:
        del at[last]
    else:
        at[last] = new
    return copy


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_pairs_and_positives(name, compressed, build, tmp_path):
    value, expected, positives = FORMATS[name]
    path = tmp_path / "lists.jsonl"
    content = (json.dumps(value) + "\n\n").encode() * 2
    path.write_bytes(gzip.compress(content) if compressed else content)
    source = build(name)
    (tmp_path / "store").mkdir()
    (block,) = [thunk() for thunk in source.blocks([path], Faults())]
    found = zip(map(str, block.queries), map(str, block.documents), block.scores.tolist(), strict=True)
    assert list(found) == expected * 2
    assert block.scores.dtype == np.float32
    assert source.judgments() == dict.fromkeys(positives, 1)
    assert source.finish() == ({"positives": 1} if positives else {})
    written = tmp_path / "store" / "qrels.tsv"
    assert written.exists() == bool(positives)
    if positives:
        query, document = positives[0]
        assert written.read_text() == f"query-id\tcorpus-id\tscore\n{query}\t{document}\t1\n"


BAD = {
    ("sbert_hard_negatives", "no query"): (changed(SBERT, "qid", KeyError), "has no 'qid'"),
    ("sbert_hard_negatives", "no positives"): (changed(SBERT, "pos", KeyError), "has no list 'pos'"),
    ("sbert_hard_negatives", "no negatives"): (changed(SBERT, "neg", KeyError), "has no 'neg'"),
    ("sbert_hard_negatives", "negatives of no system"): (changed(SBERT, "neg", []), "has no object 'neg'"),
    ("sbert_hard_negatives", "no score"): (changed(SBERT, "pos", 0, "ce-score", KeyError), "has no 'ce-score'"),
    ("sbert_hard_negatives", "empty"): ({"qid": 1, "pos": [], "neg": {}}, "has no documents"),
    ("sbert_hard_negatives", "null score"): (changed(SBERT, "pos", 0, "ce-score", None), "None is no score"),
    ("sbert_hard_negatives", "truth for a score"): (changed(SBERT, "pos", 0, "ce-score", True), "True is no score"),
    ("colbert_64way", "an object"): ({"qid": 1}, "is no JSON array of a query and pairs"),
    ("colbert_64way", "a query alone"): ([1], "is no JSON array of a query and pairs"),
    ("colbert_64way", "no scores"): ([1, 2, 3], "has documents without scores"),
    ("colbert_64way", "a triple"): ([1, [2, 3, 4]], "has a pair that is not [pid, score]"),
    ("colbert_64way", "a fraction for an id"): ([1, [2.5, 3]], "2.5 is no id"),
    ("colbert_64way", "a text for a score"): ([1, [2, "3"]], "'3' is no score"),
    ("colbert_64way", "an empty id"): (["", [2, 3]], "has an empty id"),
    ("colbert_64way", "a huge score"): ([1, [2, 10**400]], "has a score that is no finite number"),
    ("simlm", "an array"): ([1], "is no JSON object"),
    ("simlm", "no scores"): (changed(SIMLM, "positives", "score", KeyError), "has no list 'score'"),
    ("simlm", "a score too few"): (changed(SIMLM, "negatives", "score", [1]), "has 2 negatives, but 1 scores of them"),
    ("simlm", "no negatives"): (changed(SIMLM, "negatives", KeyError), "has no 'negatives'"),
}
RAW = {
    "no JSON": (b'{"qid": 1,', "is no JSON"),
    "nan": (b"[1, [2, NaN], [3, 1.0]]", "has a score that is no finite number"),
    "infinite": (b"[1, [2, Infinity], [3, -Infinity]]", "has a score that is no finite number"),
    "not UTF-8": (b'["\xff", [2, 1.0]]', "is no JSON"),
    "deep": (b"[" * 200_000, "is n"),
}


@pytest.mark.parametrize("case", [*BAD, *RAW], ids=str)
def test_malformed_lines_are_named_by_file_and_line(case, rows, made, monkeypatch):
    monkeypatch.setattr(jsonl, "SMALL_BLOCK", 100)
    name = "colbert_64way" if case in RAW else case[0]
    value, problem = RAW[case] if case in RAW else BAD[case]
    good, expected, _ = FORMATS[name]
    line = value if isinstance(value, bytes) else json.dumps(value)
    path = made(json.dumps(good), "", json.dumps(good), line, json.dumps(good))
    with pytest.raises(ConfigError) as told:
        rows(name, path)
    assert str(told.value).startswith(f"{path}:4: {problem}")
    assert "it should be: " in str(told.value)
    found, faults = rows(name, path, on_error="skip")
    assert found == expected * 3
    assert faults.count == 1


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file_is_refused(name, rows, made):
    with pytest.raises(ConfigError, match="the file is empty"):
        rows(name, made())


def test_the_edition_without_scores_is_recognised_and_not_skipped(rows, made):
    line = json.dumps({"qid": 867436, "pos": [5238393], "neg": {"bm25": [14, 15]}})
    for on_error in ("error", "skip"):
        with pytest.raises(ConfigError, match=r"has ids but no scores: take the one with ce-score .*sbert_ce_scores"):
            rows("sbert_hard_negatives", made(line), on_error=on_error)


def test_ids_of_any_kind(rows, made):
    ids = ["007", "MARCO D 1", "文書", 7, "8", 10**20, -3]
    found, _ = rows("colbert_64way", made(json.dumps(["0 q", *([each, 1.0] for each in ids)])))
    assert [row[:2] for row in found] == [("0 q", str(each)) for each in ids]
