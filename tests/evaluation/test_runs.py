import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.config import ConfigError
from limbeck.evaluation import runs
from limbeck.evaluation.runs import cut, read_run, write_run
from limbeck.types import order

USES = ["scores", "ranks"]
PLAIN = "q1 Q0 a 1 9.5 t\nq1 Q0 b 2 9.5 t\nq1 Q0 c 3 -1e-3 t\nq2 Q0 a 1 7 t\n"


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for query in ours:
        assert ours[query].ids == theirs[query].ids
        np.testing.assert_array_equal(ours[query].scores, theirs[query].scores)
        assert ours[query].scores.dtype == theirs[query].scores.dtype == np.float32


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "run.trec"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_run_files_round_trip(tmp_path):
    rng = np.random.default_rng(1)
    run = {f"q{i}": order([f"d{j}" for j in range(9)], rng.normal(size=9)) for i in range(3)}
    write_run(tmp_path / "a.trec", run, "tag")
    again = read_run(tmp_path / "a.trec")
    same(again, run)
    assert cut(again, 2)["q0"].ids == run["q0"].ids[:2]
    assert (tmp_path / "a.trec").read_text().splitlines()[0].split()[3] == "1"
    write_run(tmp_path / "none.trec", {}, "tag")
    assert read_run(tmp_path / "none.trec") == {}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("size", [1, 20, 16 << 20])
def test_files_of_any_size_are_read_by_blocks(written, monkeypatch, use, size):
    """A query may stand in many blocks, and its lines need not stand together."""
    rng = np.random.default_rng(2)
    pairs = [(f"q{q}", f"d{d}") for q in range(7) for d in range(30)]
    lines = [f"{q} Q0 {d} {rng.integers(0, 20)} {rng.integers(0, 99) / 8} tag" for q, d in rng.permutation(pairs)]
    path = written("\n".join(lines))
    expected = runs._by_line(path, use)
    monkeypatch.setattr(runs, "BLOCK", size)
    by_block = runs._by_block(path, use)
    assert by_block is not None
    same(by_block, expected)
    same(read_run(path, use=use), expected)
    assert expected["q3"].ids == order(expected["q3"].ids[::-1], expected["q3"].scores[::-1]).ids


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   "),
        PLAIN.replace(" ", " \t"),
        PLAIN.replace("\n", " \n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\nq2", "\n  \n\n q2"),
        "\n" + PLAIN + "\n\n",
        "\ufeff" + PLAIN,
        PLAIN.removesuffix("\n"),
        PLAIN.replace("7", "+7"),
        PLAIN.replace("7 t", "0x7 t"),
        PLAIN.replace("7 t", "0X.Ep3 t"),
        PLAIN.replace("-1e-3", "-.1E-2"),
        PLAIN.replace(" t\n", " my run, version 2\n"),
        PLAIN.replace(" t\n", " t\tlast\n", 2),
        PLAIN.replace(" Q0 ", " anything ").replace(" 1 ", " - "),
        "# made by hand\n" + PLAIN.replace("\nq2", "\n  # q1 Q0 d 1 99 t\n#\nq2"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN.replace(" ", "\v").encode(), mtime=0),
    ],
)
def test_any_white_space_parts_columns(written, text):
    run = read_run(written(text))
    assert {query: ranking.ids for query, ranking in run.items()} == {"q1": ["b", "a", "c"], "q2": ["a"]}
    assert run["q1"].scores.tolist() == [9.5, 9.5, np.float32(-1e-3)]
    assert run["q2"].scores.tolist() == [7.0]


def test_ids_are_any_text_without_ascii_white_space(written):
    """trec_eval knows no other white space, and no quotes."""
    ids = ["no\u00a0break", "日本", '"a', '"a"', "a\u2003b", "NA", "nan", "007", "7", "a,b", "\x1f", "'"]
    run = read_run(written("".join(f"q\u00a0 Q0 {name} 1 2.0 t\n" for name in ids)))
    assert run["q\u00a0"].ids == sorted(ids, reverse=True)


BAD = [
    ("q Q0 d 1 x t\n", ":1: expected six columns with a finite score in the fifth"),
    ("q Q0 d 1 2 t\nq Q0 d 2\n", ":2: expected six"),
    ("q Q0 d 1 2 t\nq  e 2 1 t\n", ":2: expected six"),
    ("q Q0 d 1 2 t\nq Q0 e 2 1 \n", ":2: expected six"),
    (" q Q0 d 1 2\n", ":1: expected six"),
    ("q Q0 d 1 2 t\nq Q0 e 2 1 ", ":2: expected six"),
    (
        "q Q0 d 1 2 t\n\nq Q0 my e 1 2.5 t\n",
        r":3: expected six columns .*has 7 columns, and seems to have a space in an",
    ),
    (
        "my q Q0 d 1 2 t\n",
        r":1: expected six columns with a finite score in the fifth \('d' is no|:1: .* a space in an id",
    ),
    ("q Q0 my own e 1 2.5 t\n", r":1: expected six columns .*'e' is no finite number"),
    ("q Q0 d 1 2 t\rq Q0 e 2 1 t\r", ":1: expected six columns .*has a carriage return inside; end lines with a line"),
    ("q Q0 d 1 2 t\nq Q0 e\0 2 1 t\n", ":2: expected six columns .*has a NUL byte"),
    ("q Q0 d 1 1,5 t\n", ":1: expected six columns .*'1,5' is no finite number"),
    ("q Q0 d 1 1.5abc t\n", ":1: expected six columns .*'1.5abc' is no finite number"),
    ("q Q0 d 1 0x t\n", ":1: expected six columns .*'0x' is no finite number"),
    ("q Q0 d 1 0x1p2000 t\n", ":1: expected six columns .*'0x1p2000' is no finite number"),
    ("q d 1\n", ":1: expected six columns .*has 3 columns: MS MARCO's three"),
    ("q 0 d 1\n", r":1: expected six columns .*has 4 columns: are these judgments\?"),
    ("q Q0 d 1 2.5\n", ":1: expected six columns .*has 5 columns: the tag, the sixth, may be any word"),
    ("q,Q0,d,1,2.5,t\n", r":1: expected six columns .*has 1 column: are the columns separated by spaces or tabs\?"),
    ("q Q0 " + "d" * 100_000 + "\n", ":1: expected six columns .{,400}$"),
    ("q Q0 d 1 2 t\nq Q0 e 1 nan t\n", ":2: expected six"),
    ("q Q0 e 1 -inf t\n", ":1: expected six"),
    ("q Q0 e 1 1e39 t\n", ":1: expected six"),
    ("q Q0 e 1 1_0 t\n", ":1: expected six"),
    (b"q Q0 d 1 2 t\nq Q0 \xff 1 2 t\n", ":2: not UTF-8"),
    ("q Q0 d 1 2 t\nr Q0 d 1 2 t\nq Q0 d 2 1 t\n", ":3: document d appears twice for query q"),
    ("q Q0 d 1 2 t\nq Q0  d 1 2 t\n", ":2: document d appears twice for query q"),
    (" \n", ": the file is empty"),
    (b"\xef\xbb\xbf", ": the file is empty"),
    (gzip.compress(PLAIN.encode(), mtime=0)[:-9], ": the file is damaged"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_lines_are_named(written, text, message):
    with pytest.raises(ValueError, match=rf"run\.trec{message}"):
        read_run(written(text))


@pytest.mark.parametrize("rank", ["x", "-1", "1.5", "0x7", "1_0", "1e2", "", "1234567890"])
def test_bad_ranks_are_named(written, rank):
    with pytest.raises(ValueError, match=r"run\.trec:2: expected six columns with a whole rank in the fourth"):
        read_run(written(f"q Q0 a 1 2 t\nq Q0 b {rank} 1 t\n"), use="ranks")


def test_only_what_is_used_must_be_a_number(written):
    assert read_run(written("q Q0 a - 1 t\nq Q0 b - 2 t\n"))["q"].ids == ["b", "a"]
    ranking = read_run(written("q Q0 a 2 nan t\nq Q0 b 1 - t\nq Q0 c 07 - t\n"), use="ranks")["q"]
    assert ranking.ids == ["b", "a", "c"]
    assert ranking.scores.tolist() == [-1, -2, -7]


def test_a_query_whose_lines_would_be_comments_is_not_written(tmp_path):
    run = {"#1": order(["d"], np.ones(1))}
    with pytest.raises(ConfigError, match="the id of query '#1' begins with #, which begins a comment in a TREC run"):
        write_run(tmp_path / "a.trec", run, "t")
    assert not list(tmp_path.iterdir())


def test_scores_are_rounded_twice(written):
    """To a double, then to float32, as in trec_eval: at once this one would be rounded up."""
    text = "q Q0 a 1 1.00000005960464477539062500001 t\n"
    for read in (runs._by_block, runs._by_line):
        assert read(written(text), "scores")["q"].scores.tolist() == [1.0]


NUMBERS = ["1", "2.5", "-0.0", "1e3", ".5", "5.", "+1", "1e-50", "1e39", "nan", "inf", "0x7", "1_0", "007", "x"]
NUMBERS += ["1d2", "0x1p3"]
TOKEN = st.sampled_from(["q", "r", "d", "e", "é", '"', '"a"', "\u00a0", "", *NUMBERS])
NUMBER = st.sampled_from(NUMBERS)
PART = st.sampled_from([" "] * 12 + ["\t", "  ", "\v", "\r", "\f"])
WILD = st.lists(st.tuples(TOKEN, PART), min_size=5, max_size=7).map(
    lambda pairs: "".join(map("".join, pairs)).strip(" ")
)
REGULAR = st.tuples(TOKEN, st.just("Q0"), TOKEN, NUMBER, NUMBER, st.just("t")).map(" ".join)
MORE = st.one_of(REGULAR.map("#{}".format), REGULAR.map("{} u".format))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.lists(
        st.one_of(REGULAR, REGULAR, WILD, REGULAR.map("#{}".format), REGULAR.map("{} u".format)), min_size=1, max_size=3
    ),
    st.sampled_from(USES),
)
def test_both_ways_to_read_agree(tmp_path_factory, lines, use):
    """What the fast one reads at all, it reads like the careful one."""
    path = tmp_path_factory.getbasetemp() / "random.trec"
    path.write_text("x" + "\n".join(lines), newline="")
    fast = runs._by_block(path, use)
    if fast is not None:
        same(fast, runs._by_line(path, use))
