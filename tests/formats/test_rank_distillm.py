import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.config import ConfigError
from limbeck.formats import parquet
from limbeck.formats.rank_distillm import RankDistiLLM

NAME = "__rankzephyr-colbert-10000-sampled-100__msmarco-passage-train-judged"


def written(tmp_path, columns, name=f"{NAME}.parquet"):
    path = tmp_path / name
    pq.write_table(pa.table(columns), path)
    return path


def test_a_run(rows, made):
    path = made("1 Q0 10 1 100 rankzephyr", "1 Q0 11 2 99 rankzephyr", name=f"{NAME}.run")
    assert rows("rank_distillm", path)[0] == [("1", "10", 100.0, 1), ("1", "11", 99.0, 2)]
    path = made("1 Q0 10 1 100 rankzephyr", "1 Q0 11 two 99 rankzephyr", name=f"{NAME}.run")
    with pytest.raises(ConfigError, match=r"\.run:2: 'two' is no rank from 1"):
        rows("rank_distillm", path)


def test_parquet_with_ranks_and_scores(rows, tmp_path):
    columns = {"query_id": ["1", "1"], "q0": ["Q0"] * 2, "doc_id": ["10", "11"], "rank": [1, 2], "score": [0.5, 0.75]}
    assert rows("rank_distillm", written(tmp_path, columns))[0] == [("1", "10", 0.5, 1), ("1", "11", 0.75, 2)]
    columns["rank"] = [1, 0]
    with pytest.raises(ConfigError, match=r"\.parquet:2: 0 is no rank"):
        rows("rank_distillm", written(tmp_path, columns))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("ids", [str, int])
def test_parquet_in_the_order_of_its_rows(step, ids, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", step)
    queries = [7, 7, 7, 8, 9, 9]
    documents = [3, 1, 2, 1, 5, 4]
    path = written(tmp_path, {"query-id": list(map(ids, queries)), "corpus-id": list(map(ids, documents))})
    ranks = [1, 2, 3, 1, 1, 2]
    expected = [(str(q), str(d), -float(r), r) for q, d, r in zip(queries, documents, ranks, strict=True)]
    assert rows("rank_distillm", path)[0] == expected


def test_parquet_with_lists(rows, tmp_path):
    path = written(tmp_path, {"query_id": ["7", "8"], "doc_ids": [["3", "1"], ["2"]]})
    assert rows("rank_distillm", path)[0] == [("7", "3", -1.0, 1), ("7", "1", -2.0, 2), ("8", "2", -1.0, 1)]


def test_parquet_with_lists_of_queries(rows, tmp_path):
    """With ranks a pair is a pair; without, where a query ends cannot be seen from the rows."""
    lists = {"query_id": [["7", "7"], ["7", "8"]], "doc_id": [["3", "1"], ["2", "4"]]}
    with pytest.raises(ConfigError, match=r"\.parquet: column query_id has lists; without ranks each row must hold"):
        rows("rank_distillm", written(tmp_path, lists))
    path = written(tmp_path, lists | {"rank": [[1, 2], [3, 1]]})
    assert rows("rank_distillm", path)[0] == [
        ("7", "3", -1, 1),
        ("7", "1", -2, 2),
        ("7", "2", -3, 3),
        ("8", "4", -1, 1),
    ]


@pytest.mark.parametrize(
    ("name", "teacher", "kind"),
    [
        (f"{NAME}.parquet", "rankzephyr", "rank"),
        ("__set-encoder-colbert-all-100__msmarco-passage-train-judged.parquet", "set-encoder", "logit"),
        ("__monoelectra-colbert-all-100__x.parquet", "monoelectra", "logit"),
        ("__rankgpt4-bm25-1000__x.parquet", "rankgpt4", "rank"),
        ("mine.parquet", None, "unknown"),
    ],
)
def test_teacher_and_kind_follow_the_name_of_the_file(name, teacher, kind, tmp_path):
    path = written(tmp_path, {"query_id": np.array([1])}, name)
    assert RankDistiLLM(tmp_path).source([path]) == (teacher, kind)


def test_the_teacher_of_a_run_is_its_tag(made, tmp_path):
    assert RankDistiLLM(tmp_path).source([made("1 Q0 10 1 100 zephyr")]) == ("zephyr", "unknown")


def test_a_missing_column(rows, tmp_path):
    with pytest.raises(ConfigError, match="there is no column for the query id"):
        rows("rank_distillm", written(tmp_path, {"doc_id": ["1"]}))
