import numpy as np
import pyarrow as pa
import pytest

from limbeck.scores import places as module
from limbeck.scores.keys import ID
from limbeck.scores.places import Places

IDS = ["7", "07", "q", "", "日本", "10", str(10**20), "seven", "1", "2"]


@pytest.mark.parametrize("cuts", [[], [4], [0, 3, 3, 10]])
def test_ids_are_found_where_they_are(cuts):
    columns = [pa.array(part.tolist(), ID) for part in np.split(np.array(IDS, object), cuts)]
    places = Places(columns)
    assert [places.find(name) for name in IDS] == list(range(len(IDS)))
    assert (places.find("8"), places.find("Q"), len(places), places.twice()) == (None, None, len(IDS), False)
    assert Places([]).find("q") is None


def test_ids_of_one_key_are_told_apart(monkeypatch):
    """Of 2⁶³ keys no two will meet; here all texts have one."""
    one = 1 << 63
    monkeypatch.setattr(module, "key", lambda name: int(name) if name.isdigit() else one)
    numbers = lambda column: np.array([int(n) if n.isdigit() else one for n in column.to_pylist()], np.uint64)  # noqa: E731
    monkeypatch.setattr(module, "keys", lambda column: (numbers(column), None))
    places = Places([pa.array(["b", "3", "a"], ID), pa.array(["c"], ID)])
    assert [places.find(name) for name in ("a", "b", "c", "d", "3")] == [2, 0, 3, None, 1]
    assert not places.twice()
    assert Places([pa.array(["b", "3", "a"], ID), pa.array(["b"], ID)]).twice()
