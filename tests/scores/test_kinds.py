"""The kind of number: what is said, what the values show, and a store that is refused where the two differ."""

import json

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.scores.ensemble import ensemble, kind_of_mean
from limbeck.scores.kinds import Values, described, doubtful, impossible
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance, write_store

LISTS, LENGTH = 20, 10
LOGITS = np.random.default_rng(0).normal(0, 3, (LISTS, LENGTH))
SIGMOID = 1 / (1 + np.exp(-LOGITS))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
COSINES = np.tanh(LOGITS / 5)


def values(scores):
    return Values.of(scores.astype(np.float32).ravel(), np.arange(0, scores.size, scores.shape[1]))


@pytest.mark.parametrize(
    ("scores", "look"),
    [
        (LOGITS, None), (SIGMOID, "probability"), (SOFTMAX, "softmax"), (np.log(SOFTMAX), "log_probability"),
        (COSINES, None), (np.abs(COSINES), "probability"), (0.3 + 0.1 * SIGMOID, None), (np.full((20, 10), 0.1), None),
        (SIGMOID[:3], None), (-1 - np.arange(200.0).reshape(20, 10), None),
        (SIGMOID.astype(np.float16), "probability"), (SOFTMAX.astype(np.float16), "softmax"),
    ],
)  # fmt: skip
def test_what_values_look_like(scores, look):
    assert values(scores).looks_like() == look


def test_a_few_lists_that_do_not_sum_to_1_are_still_a_softmax():
    some = SOFTMAX.copy()
    some[:2] *= 0.5  # documents of these lists are not in the file
    assert values(some).looks_like() == "softmax"
    some[:4] *= 0.5
    assert values(some).looks_like() == "probability"


def test_lists_of_one_are_no_softmax():
    assert values(np.ones((200, 1)) * (np.arange(200) % 2)[:, None]).looks_like() == "probability"


def test_values_grow_and_missing_scores_are_left_out():
    whole = Values()
    for row in SOFTMAX.astype(np.float32):
        whole.add(row, np.array([0]))
    assert whole == values(SOFTMAX)
    absent = SOFTMAX.astype(np.float32).ravel()
    absent[3] = np.nan
    found = Values.of(absent, np.arange(0, 200, 10))
    assert (found.count, found.lists, found.summing) == (199, 20, 19)


@pytest.mark.parametrize(
    ("kind", "scale", "scores", "message"),
    [
        ("probability", None, LOGITS, r"a probability lies in \[0, 1\]"),
        ("softmax", None, LOGITS, r"a softmax lies in \[0, 1\]"),
        ("log_probability", None, LOGITS, "never above 0"),
        ("cosine", None, 20 * COSINES, r"a cosine with scale=1 lies in \[-1, 1\]"),
        ("cosine", 20.0, 20 * COSINES, None),
        ("cosine", 20.0, 30 * COSINES, r"scale=20 lies in \[-20, 20\]"),
        ("cosine", 0.05, COSINES, "scale=0.05"),
        ("probability", None, SIGMOID, None),
        ("logit", None, LOGITS, None),
        ("rank", None, LOGITS, None),
        ("unknown", None, LOGITS, None),
    ],
)
def test_what_cannot_be(tmp_path, kind, scale, scores, message):
    why = impossible(kind, scale, values(scores))
    assert (why is None) == (message is None)
    if message:
        with pytest.raises(ConfigError, match=rf"kind={kind} was given, but the scores lie in .*{message}"):
            store(tmp_path / "store", scores, kind, scale)


@pytest.mark.parametrize(
    ("kind", "scores", "message"),
    [
        ("logit", SIGMOID, r"look like probabilities, as after a sigmoid: all 200 lie in .*kind=probability"),
        ("logit_difference", SIGMOID, "look like probabilities"),
        ("logit", SOFTMAX, r"look like a softmax: .*20 of 20 lists sum to 1; set kind=softmax"),
        ("probability", SOFTMAX, "look like a softmax"),
        ("softmax", SOFTMAX, None), ("similarity", SIGMOID, None), ("dot_product", SIGMOID, None),
        ("unknown", SOFTMAX, None), ("logit", LOGITS, None), ("logit", np.log(SOFTMAX), None),
    ],
)  # fmt: skip
def test_what_is_hardly_so_is_refused_where_another_program_wrote_it(tmp_path, kind, scores, message):
    assert (doubtful(kind, values(scores)) is None) == (message is None)
    assert len(store(tmp_path / "ours", scores, kind)) == 200
    if message is None:
        store(tmp_path / "theirs", scores, kind, doubt=True)
        return
    with pytest.raises(ConfigError, match=message):
        store(tmp_path / "theirs", scores, kind, doubt=True)


def store(path, scores, kind, scale=None, **options):
    # one block a query, so that lists are seen in the merged store alone
    blocks = [lambda q=q, row=row: block(q, row) for q, row in enumerate(scores)]
    return write_store(path, blocks, Provenance("t", kind, scale), **options)


def block(query, row):
    return Block(np.full(len(row), query), np.arange(len(row)), row.astype(np.float32))


def test_the_store_records_it(tmp_path):
    meta = store(tmp_path / "store", SOFTMAX, "unknown").meta
    assert meta["values"]["look_like"] == "softmax"
    assert meta["values"]["highest"] == pytest.approx(SOFTMAX.max())
    assert described(meta) == "unknown, and the values look like softmax"
    assert described({"kind": "cosine", "scale": 20.0}) == "cosine × 20"
    assert described({"kind": "dot_product", "scale": 1.0}) == "dot product"
    assert described({}) == "unknown"


def test_a_store_without_the_kind_opens_as_unknown(tmp_path):
    store(tmp_path / "store", LOGITS, "logit")
    file = tmp_path / "store" / "meta.json"
    meta = json.loads(file.read_text())
    for name in ("kind", "scale", "values"):
        del meta[name]
    file.write_text(json.dumps(meta))
    old = ScoreStore.open(tmp_path / "store")
    old.verify()
    assert (old.meta["kind"], old.meta["scale"], described(old.meta)) == ("unknown", None, "unknown")


@pytest.mark.parametrize(
    ("one", "other", "standardise", "message"),
    [
        (("logit", None), ("softmax", None), True, "are of the kind softmax, relative to their list"),
        (("rank", None), ("logit", None), True, "are of the kind rank"),
        (("logit", None), ("probability", None), False, "their plain mean has no meaning"),
        (("cosine", 20.0), ("cosine", 50.0), False, "cosine × 20; .* has cosine × 50"),
    ],
)
def test_no_mean_of_numbers_that_do_not_go_together(tmp_path, one, other, standardise, message):
    scores = {"logit": LOGITS, "softmax": SOFTMAX, "rank": LOGITS, "probability": SIGMOID, "cosine": COSINES}
    stores = [store(tmp_path / str(i), scores[kind[0]], *kind) for i, kind in enumerate((one, other))]
    with pytest.raises(ConfigError, match=message):
        list(ensemble(stores, standardise=standardise))


def test_a_mean_of_different_kinds_after_standardisation_is_warned_of(tmp_path, caplog):
    stores = [store(tmp_path / "a", LOGITS, "logit"), store(tmp_path / "b", SIGMOID, "probability")]
    assert len(list(ensemble(stores))) == 1
    assert "different kinds of scores" in caplog.text
    assert kind_of_mean(stores, standardise=True) == ("similarity", None)
    assert kind_of_mean(stores[1:] * 2, standardise=True) == ("similarity", None)
    assert kind_of_mean(stores[1:] * 2, standardise=False) == ("probability", None)
    assert kind_of_mean(stores[:1] * 2, standardise=True) == ("logit", None)
