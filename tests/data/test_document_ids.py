"""Ids of documents: written and checked once, mapped into memory."""

import pickle

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.data import document_ids
from limbeck.data.document_ids import DocumentIds, write


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(document_ids, "_BLOCK", 4)


def test_ids_answer_as_a_list_does(tmp_path):
    names = [f"d{i}" for i in range(10)] + ["ä 1"]
    write(tmp_path, iter(names), "corpus", None)
    ids = DocumentIds(tmp_path)
    assert list(ids) == names
    assert len(ids) == 11
    assert (ids[3], ids[-1], ids[2:5], ids[8:99]) == ("d3", "ä 1", names[2:5], names[8:])
    assert ids.take(np.array([7, 0, 7], dtype=np.int32)) == ["d7", "d0", "d7"]
    assert ids.known(["d4", "x", "ä 1"]) == {"d4", "ä 1"}
    assert "d9" in ids
    assert "d10" not in ids
    assert ids.unfit == "ä 1"
    again = pickle.dumps(ids)
    assert len(again) < 500  # the path alone
    assert list(pickle.loads(again)) == names


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "corpus: there are no documents"), (["a", *"bcdef", "a"], "corpus: document 'a' appears")],
)
def test_what_is_no_collection_is_refused(tmp_path, names, message):
    with pytest.raises(ConfigError, match=message):
        write(tmp_path, names, "corpus", len(names))


@pytest.mark.parametrize("wrong", ["", "a\tb"])
def test_the_first_id_that_no_run_can_hold_is_known(tmp_path, wrong):
    write(tmp_path, [*"abcdef", wrong, "x y"], "corpus", 8)
    assert DocumentIds(tmp_path).unfit == wrong
