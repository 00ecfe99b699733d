"""Tables of scores: a query, a document and a score a line, and perhaps a label."""

import gzip
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from limbeck.config import ConfigError
from limbeck.formats import table as module
from limbeck.formats.faults import Faults

ROWS = [("1", "10", 1.5), ("1", "011", -2.0), ("q 2", "文書", 0.0)]


def table(between, header=None, quote=""):
    lines = [header] if header else []
    return [*lines, *(between.join(f"{quote}{each}{quote}" for each in row) for row in ROWS)]


def objects(query, document, score, /, **more):
    return [json.dumps({query: q, **more, document: d, score: s}, ensure_ascii=False) for q, d, s in ROWS]


GOOD = {
    "TSV": (table("\t"), {}),
    "TSV with a header": (table("\t", "qid\tpid\tscore"), {}),
    "TSV in capitals": (table("\t", "Query_ID\tDocNo\tScore"), {}),
    "TSV with other columns": (["score\trank\tdoc_id\tquery_id", *(f"{s}\t7\t{d}\t{q}" for q, d, s in ROWS)], {}),
    "TSV with columns named": (
        ["frage\ttext\ttreffer\tpunkte", *(f"{q}\tx y\t{d}\t{s}" for q, d, s in ROWS)],
        {"query": "frage", "document": "treffer", "score": "punkte"},
    ),
    "TSV without a header, columns named": (
        [f"{s}\t{d}\t-\t{q}" for q, d, s in ROWS], {"columns": ["score", "document", "_", "query"]}
    ),
    "TSV of a text and an id": (["query\tqid\tpid\tscore", *(f"a text\t{q}\t{d}\t{s}" for q, d, s in ROWS)], {}),
    "CSV": (table(","), {}),
    "CSV with a header": (table(",", "query,document,score"), {}),
    "CSV in quotes": (table(",", '"query","document","score"', '"'), {}),
    "CSV separated by semicolons": (table(";", "query;document;score"), {}),
    "JSONL": (objects("query", "document", "score"), {}),
    "JSONL by other names": (objects("qid", "docno", "teacher_score", text="{x}"), {}),
    "JSONL by keys named": (objects("a", "b", "c", score=9), {"query": "a", "document": "b", "score": "c"}),
    "JSON arrays": ([json.dumps(row) for row in ROWS], {}),
    "JSON arrays, columns named": (
        [json.dumps([s, q, d]) for q, d, s in ROWS], {"columns": ["score", "query", "document"]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize("change", ["plain", "gzip, CRLF, a mark of UTF-8, blank lines"])
def test_every_layout(case, size, change, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL_BLOCK", size)
    lines, options = GOOD[case]
    content = "\n".join(lines).encode()
    if change != "plain":
        content = gzip.compress(b"\xef\xbb\xbf" + b"\r\n\r\n".join(line.encode() for line in lines) + b"\r\n")
    path = tmp_path / "scores"
    path.write_bytes(content)
    found, faults = rows("table", path, **options)
    assert found == ROWS
    assert not faults.count


def test_columns_parted_by_blanks(rows, made):
    assert rows("table", made("q d,1 1.5", "q  e -2e1"))[0] == [
        ("q", "d,1", 1.5),
        ("q", "e", -20.0),
    ]
    assert rows("table", made("query_id doc_id score", "q d 1.5"))[0] == [("q", "d", 1.5)]


def test_quotes_of_csv_may_hold_what_parts_columns(rows, made):
    assert rows("table", made("query,document,score", '"a,""b""",d,1'))[0] == [('a,"b"', "d", 1.0)]
    assert rows("table", made('q"1\td"\t1'))[0] == [('q"1', 'd"', 1.0)]  # TSV has no quotes


def test_parquet(rows, tmp_path):
    path = tmp_path / "scores.parquet"
    query, document, score = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"query": query, "x": score, "document": document, "logit": score}), path)
    assert rows("table", path)[0] == ROWS
    assert rows("table", path, score="x")[0] == ROWS
    with pytest.raises(ConfigError, match=r"cannot tell the columns .* y: the file has the columns query, x, document"):
        rows("table", path, score="y")


def test_several_files_of_several_layouts(rows, made):
    paths = [made(*GOOD[case][0], name=case) for case in ("TSV", "JSONL", "CSV with a header")]
    assert rows("table", *paths)[0] == ROWS * 3


def test_the_file_does_not_say_whose_scores_they_are(build, made):
    assert build("table").source([made("q d 1")]) == (None, "unknown")


BAD = {
    "a column too few": ("q\td", "has 2 columns"),
    "no number": ("q\td\thigh", "'high' is no finite number"),
    "nan": ("q\td\tnan", "'nan' is no finite number"),
    "too large": ("q\td\t1e39", "has a score that is too large"),
    "an empty id": ("\td\t1", "has an empty id"),
    "not UTF-8": (b"q\t\xff\t1", "'utf-8' codec can't decode"),
    "a header again": ("qid\tpid\tscore", "'score' is no finite number"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_lines_are_named_by_file_and_line(case, rows, made):
    line, problem = BAD[case]
    path = made(*table("\t", "qid\tpid\tscore"), line, "1\t12\t9")
    with pytest.raises(ConfigError) as told:
        rows("table", path)
    assert str(told.value).startswith(f"{path}:5: {problem}")
    assert "it should be: 3 columns, with a query, a document and a score" in str(told.value)
    found, faults = rows("table", path, on_error="skip")
    assert found == [*ROWS, ("1", "12", 9.0)]
    assert faults.count == 1


BAD_JSON = {
    "no score": ('{"query": "q", "document": "d"}', "has no 'score'"),
    "a text for a score": ('{"query": "q", "document": "d", "score": "1"}', "'1' is no score"),
    "null": ('{"query": "q", "document": "d", "score": null}', "None is no score"),
    "nan": ('{"query": "q", "document": "d", "score": NaN}', "has a score that is no finite number"),
    "a list": ('{"query": "q", "document": ["d"], "score": 1}', r"\['d'\] is no id"),
    "an array": ('["q", "d", 1]', "is no JSON object"),
    "no JSON": ('{"query": "q", ', "is no JSON"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_malformed_values_are_named_by_file_and_line(case, rows, made):
    line, problem = BAD_JSON[case]
    path = made(*GOOD["JSONL"][0], line)
    with pytest.raises(ConfigError, match=f":4: {problem}"):
        rows("table", path)
    assert rows("table", path, on_error="skip")[0] == ROWS


UNCLEAR = {
    "a header of other names": (["frage\ttreffer\tpunkte", "q\td\t1"], r"line 1 is 'frage\\ttreffer.*; give format"),
    "four columns": (["q\td\t1\t2"], "line 1 is .*; give format.query=NAME"),
    "other keys": (['{"a": 1, "b": 2}'], "line 1 has the keys a, b; give format.query=NAME"),
    "an array of objects": (['[{"query": 1}]'], r"this is one JSON array; jq -c '\.\[\]' scores.txt"),
    "an object over lines": (["{", '"query": 1', "}"], r":1: is no JSON value in one line; jq -c \. scores.txt"),
    "an array over lines": (["[", '{"query": 1}', "]"], r":1: is no JSON value in one line; .*jq -c '\.\[\]' "),
    "nested": (['{"q": {"d": 1.5}}'], r"this is one JSON object \{query: \{document: score\}\}; jq -r 'to_entries"),
    "a run": (["q Q0 d 1 2.5 t"], "line 1 is 'q Q0 d 1 2.5 t'; give"),
    "a wild quote": (['query,document,score', '"a"b,c,1'], ":2: is no line of a CSV file"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_cannot_be_told_is_asked_for(case, rows, made):
    lines, message = UNCLEAR[case]
    with pytest.raises(ConfigError, match=message):
        rows("table", made(*lines))


def test_columns_must_name_all_three(build):
    with pytest.raises(ValueError, match="columns must name query, document and score, got query, text, score"):
        build("table", columns=["query", "text", "score"])


JSON_GRADES = (2, False, True)
LABELLED = {
    "TSV": (["qid\tpid\tgrade\tscore", *(f"{q}\t{d}\t{g}\t{s}" for (q, d, s), g in zip(ROWS, "201", strict=True))], {}),
    "CSV without a header": (
        [f"{g},{q},{d},{s}" for (q, d, s), g in zip(ROWS, "201", strict=True)],
        {"label": None, "columns": ["label", "query", "document", "score"]},
    ),
    "JSONL": (
        [json.dumps({"q": q, "d": d, "score": s, "grade": g}) for (q, d, s), g in zip(ROWS, JSON_GRADES, strict=True)],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LABELLED)
@pytest.mark.parametrize("size", [1, 10**6])
def test_labels_become_judgments(case, size, build, made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL_BLOCK", size)
    lines, options = LABELLED[case]
    check_judged(build("table", **({"label": "grade"} | options)), made(*lines), tmp_path)


@pytest.mark.parametrize("labels", [[2, 0, 1], [2.0, -1.0, 1.0], ["a", "b", "c"], [1, None, 2], [0.5, 1, 1]])
def test_labels_of_parquet(labels, build, rows, tmp_path):
    path = tmp_path / "scores.parquet"
    query, document, score = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"qid": query, "pid": document, "score": score, "grade": pa.array(labels)}), path)
    if labels[0] == 2:
        check_judged(build("table", label="grade"), path, tmp_path)
    elif labels[0] == "a":
        with pytest.raises(ConfigError, match=r"scores\.parquet: column grade is of type string, which is no label"):
            rows("table", path, label="grade")
    else:
        line = labels.index(None) + 1 if None in labels else 1
        with pytest.raises(ConfigError, match=rf"scores\.parquet:{line}: (None|0\.5) is no label"):
            rows("table", path, label="grade")


def check_judged(source, path, tmp_path):
    (tmp_path / "store").mkdir()
    pairs = sum(len(thunk().scores) for thunk in source.blocks([path], Faults()))
    assert (pairs, source.finish()) == (3, {"positives": 2})
    written = (tmp_path / "store" / "qrels.tsv").read_text(encoding="utf-8")
    assert written == "query-id\tcorpus-id\tscore\n1\t10\t2\nq 2\t文書\t1\n"


def test_a_label_that_is_none_is_named_by_file_and_line(rows, made):
    path = made("qid\tpid\tscore\tgrade", "q\td\t1\t1", "q\te\t1\tgood")
    with pytest.raises(ConfigError, match=r"scores\.txt:3: 'good' is no label, which is a whole number"):
        rows("table", path, label="grade")
    found, faults = rows("table", path, label="grade", on_error="skip")
    assert (found, faults.count) == ([("q", "d", 1.0)], 1)
    with pytest.raises(ConfigError, match="cannot tell the columns of query, document, score and label rel: line 1 is"):
        rows("table", path, label="rel")


def test_a_pair_has_one_label(build, made):
    source = build("table", label="grade")
    for thunk in source.blocks([made("qid\tpid\tscore\tgrade", "q\td\t1\t1", "q\td\t1\t2")], Faults()):
        thunk()
    with pytest.raises(ConfigError, match="query 'q', document 'd' is labelled 1 in one line and 2 in another"):
        source.finish()
