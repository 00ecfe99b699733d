import logging

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.data.pool import read_pool, write_pool, write_scores
from limbeck.types import Ranking

QRELS = {"q1": {"a": 2, "b": 0, "z": 1}, "q2": {"c": 0}, "q3": {"d": 1}}
RUN = {"q1": Ranking(["b", "a", "c"], np.array([3.0, 2.0, 1.0])), "q2": Ranking(["a"], np.array([1.0]))}
DOCUMENTS = ["a", "b", "c", "d", "e"]


def pool(tmp_path, random_documents=0):
    write_pool(tmp_path / "pool.arrow", QRELS, RUN, DOCUMENTS, random_documents)
    return read_pool(tmp_path / "pool.arrow")


def test_positives_first_then_candidates_with_ranks(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = pool(tmp_path)
    assert found.query_ids == ["q1", "q3"]
    assert found.documents(0) == ["a", "b", "c"]
    assert found.labels[found.rows(0)].tolist() == [2, 0, 0]
    assert found.ranks[found.rows(0)].tolist() == [2, 1, 3]
    assert found.documents(1) == ["d"]
    assert found.ranks[found.rows(1)].tolist() == [1]  # no candidate: just behind an empty list
    assert "1 of 3 training queries have no positive" in caplog.text
    assert "1 positives are judged but not in the collection" in caplog.text


def test_random_documents_are_new_stand_behind_and_never_change(tmp_path):
    found = pool(tmp_path, 2)
    documents = found.documents(0)
    assert documents[:3] == ["a", "b", "c"]
    assert set(documents[3:]) == {"d", "e"}
    assert found.ranks[found.rows(0)].tolist() == [2, 1, 3, 4, 4]
    assert pool(tmp_path, 2).documents(0) == documents


def test_scores_belong_to_their_pool(tmp_path):
    found = pool(tmp_path)
    path = tmp_path / "scores.arrow"
    write_scores(path, found, lambda queries, lists: [np.arange(len(each), dtype=np.float32) for each in lists])
    assert read_pool(tmp_path / "pool.arrow", path).scores.tolist() == [0, 1, 2, 0]
    write_scores(path, found, lambda queries, lists: [np.full(len(each), np.nan, np.float32) for each in lists])
    with pytest.raises(ConfigError, match=r"query 'q1', document 'a' is nan \(4 such scores\)"):
        read_pool(tmp_path / "pool.arrow", path)
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.slice(1))
    with pytest.raises(ConfigError, match="not of this pool"):
        read_pool(tmp_path / "pool.arrow", path)


def test_a_pool_without_positives_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no training query has a positive"):
        write_pool(tmp_path / "pool.arrow", {"q": {"a": 0}}, {}, DOCUMENTS, 0)
