import gzip

import pytest

from limbeck.config import ConfigError
from limbeck.evaluation.qrels import judgments, read_qrels

TREC = "q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\n"
BEIR = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n"
JUDGED = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "qrels.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        TREC,
        TREC.replace(" ", "\t"),
        TREC.replace(" ", " \t "),
        TREC.replace("\n", " \r\n\r\n"),
        TREC.removesuffix("\n"),
        TREC + "q1 Q0 d1 2\n",  # judged twice alike
        "# who judged\n" + TREC.replace("\nq2", "\n# more\n#\nq2"),
        TREC.replace("2\n", "2.0\n").replace(" 0\n", " 0.\n"),
        "\ufeff" + TREC,
        gzip.compress(TREC.encode(), mtime=0),
        BEIR,
        "\n" + BEIR.replace("\n", "\r\n"),
        "\ufeff" + BEIR.replace("\t", " \t "),
        gzip.compress(BEIR.encode(), mtime=0),
    ],
)
def test_both_layouts(written, text):
    qrels = read_qrels(written(text))
    assert qrels == JUDGED
    assert [(query, list(of)) for query, of in qrels.items()] == [(query, list(of)) for query, of in JUDGED.items()]


def test_judgments_come_in_file_order(written):
    path = written("b 0 y 1\na 0 x 1\nb 0 x +2\na 0 x 1\n")
    assert list(judgments(path)) == [("b", "y", 1), ("a", "x", 1), ("b", "x", 2), ("a", "x", 1)]
    assert list(read_qrels(path).items()) == [("b", {"y": 1, "x": 2}), ("a", {"x": 1})]


def test_ids_of_a_beir_file_may_hold_blanks(written):
    text = "query-id\tcorpus-id\tscore\nq 1\td\u00a01\t1\n"
    assert read_qrels(written(text)) == {"q 1": {"d\u00a01": 1}}
    assert read_qrels(written("q\u00a0 0 d 1\n")) == {"q\u00a0": {"d": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 0 d1 2\nq1 0 d2\n", ":2: expected query, iteration, document and a whole number.*found 'q1 0 d2'"),
        ("q1 0 d1 2\n\nq1 0 d2 1 x\n", ":3: expected query"),
        ("q1 0 d1 yes\n", ":1: expected query"),
        ("q1 0 d1 0.5\n", ":1: expected query"),
        ("q1 0 d1 1.01\n", ":1: expected query"),
        ("q1 0 d1 1e0\n", ":1: expected query"),
        ("q1 0 d1 .0\n", ":1: expected query"),
        ("q1 0 d\0 1\n", ":1: expected query"),
        ("q1 0 d1 1\rq1 0 d2 1\r", ":1: expected query"),
        ("q1 Q0 d1 1 2.5 t\n", ":1: expected query.*; six columns are those of a run"),
        ("q1,0,d1,1\n", ":1: expected query.*; the columns are separated by tabs or spaces, not by commas"),
        ("# alone\n", ": there are no judgments, only comments"),
        ("q " + "x" * 100_000 + "\n", ":1: expected query.{,300}$"),
        ("q1 0 d1 1_0\n", ":1: expected query"),
        ("q1 0 d1 1\nq1 0 d2 \u0661\n", ":2: expected query"),
        (b"q1 0 d1 1\nq1 0 \xff 1\n", r":2: expected query.*\\xff"),
        ("q1 d1 1\n", ":1: the header must be query-id, corpus-id, score where there are three"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", ":2: expected query-id, corpus-id and a whole number, tab-separated"),
        ("query-id\tcorpus-id\tscore\nq1 d1 1\n", ":2: expected query-id"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tx\n", ":2: expected query-id"),
        ("query-id\tcorpus-id\tscore\nq1\t \t1\n", ":2: expected query-id"),
        ("q 0 d 1\nq 0 e 1\nq 0 d 2\n", ":3: document d has grade 2 for query q, but grade 1 in an earlier line"),
        (
            "query-id\tcorpus-id\tscore\nq\td\t0\nq\td\t1\n",
            ":3: document d has grade 1 for query q, but grade 0 in an earlier line",
        ),
        ("", ": the file is empty"),
        ("\n \n", ": the file is empty"),
        ("query-id\tcorpus-id\tscore\n", ": there are no judgments below the header"),
        (gzip.compress(TREC.encode(), mtime=0)[:-9], ": the file is damaged"),
    ],
)
def test_what_is_wrong_is_named(written, text, message):
    with pytest.raises(ConfigError, match=rf"qrels\.txt{message}"):
        read_qrels(written(text))


def test_a_beir_file_has_no_comments(written):
    assert read_qrels(written("query-id\tcorpus-id\tscore\n#1\td1\t1\n")) == {"#1": {"d1": 1}}


def test_real_judgments(shared):
    qrels = read_qrels(shared / "msmarco-dl" / "qrels" / "dev-full.tsv")
    assert (len(qrels), sum(map(len, qrels.values()))) == (43, 9260)
    assert qrels["19335"]["1017759"] == 0
    assert len(read_qrels(shared / "msmarco-dl" / "qrels" / "test-full.tsv")) == 54
