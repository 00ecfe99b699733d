"""What batches know of the judgments."""

import numpy as np
import pyarrow as pa
import torch

from limbeck.data.judged import Judged
from limbeck.data.pool import Pool
from limbeck.data.sampling import Lists, ListSampler
from limbeck.scores.keys import LARGEST, NO_KEY, key, signed_keys

QRELS = {"q1": {"7": 1, "a": 2, "b": 0, "c": -1}, "q2": {"b": 1}, "q3": {"a": 1, "7": 3, "123456789012345678": 1}}


def test_relevant_documents_by_query_in_the_order_asked_for():
    judged = Judged(QRELS, ["q3", "q0", "q1"])
    assert judged.of(0).tolist() == signed_keys(["a", "7", "123456789012345678"]).tolist()
    assert judged.of(1).tolist() == []
    assert judged.of(2).tolist() == signed_keys(["7", "a"]).tolist()
    assert Judged(QRELS, ["q1", "q3"], relevant=2).of(0).tolist() == signed_keys(["a"]).tolist()


def test_padding_is_no_key():
    assert signed_keys([str(LARGEST - 1), str(LARGEST), str(LARGEST + 1), "x"]).tolist().count(NO_KEY) == 0
    assert [np.uint64(key(name)) for name in ("5", "x")] == signed_keys(["5", "x"]).view(np.uint64).tolist()


def test_lists_bring_what_the_judgments_know_whatever_is_drawn():
    pool = Pool(["q1", "q2"], np.array([0, 3, 5]), pa.array(["7", "b", "c", "b", "a"]), np.array([1, 0, 0, 1, 0]),
                np.array([1, 2, 3, 1, 2]))  # fmt: skip
    judged = Judged(QRELS, pool.query_ids)
    lists = Lists(pool, ListSampler(negatives=1), 0, judged).__getitems__([(0, 1), (3, 0)])
    assert [each.relevant.tolist() for each in lists] == [signed_keys(["b"]).tolist(), signed_keys(["7", "a"]).tolist()]
    assert Lists(pool, ListSampler(negatives=1), 0)[(0, 1)].relevant is None
    assert torch.from_numpy(lists[0].relevant).dtype == torch.int64
