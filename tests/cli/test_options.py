"""The verbs' own options: a value of another type is refused by name, before anything is opened."""

import pytest

from limbeck.config import ConfigError
from limbeck.experiment.messages import explain
from limbeck.experiment.options import typed

WRONG = {
    "out": (None, "", [], {}, True),
    "index": (None, [], True),
    "accelerator": (None, [], ""),
    "shard": ([], {}, True, ""),
    "run": ("", {"a": None}, [None], True),
    "compare": ([""], True),
    "splits": ({}, True, [None], ""),
    "metrics": ("ndcg@10", 5, {}, [None]),
    "force": ("maybe", 1, None),
    "depth": ("ten", 1.5, 0, -1, True, None, []),
    "timed": ("ten", -1, 0.5, None),
    "seed": (-1, 2**32, "one", 1.5, None, True),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_wrong_types_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=f"^{key} must be .*, got "):
        typed({key: value})


@pytest.mark.parametrize("value", [None, "", []])
def test_places_must_be_paths(value):
    with pytest.raises(ConfigError, match=r"^paths\.runs must be a word or a path, got "):
        typed({"paths": {"runs": value}})


@pytest.mark.parametrize("value", [5, {"a": 5}, {"a": None}])
def test_sets_have_names(value):
    with pytest.raises(ConfigError, match=r"^eval\.sets must hold sets by name"):
        typed({"eval": {"sets": value}})


def test_numbers_may_be_names():
    assert typed({"out": 5, "run": [5, "a"], "compare": {"a": 7}, "paths": {"runs": 2025}, "depth": 3}) == {
        "out": "5", "run": ["5", "a"], "compare": {"a": "7"}, "paths": {"runs": "2025"}, "depth": 3
    }  # fmt: skip


def test_what_may_be_null_depends_on_the_verb():
    assert typed({"out": None, "depth": None, "run": None}, optional=("out", "depth")) == {
        "out": None, "depth": None, "run": None
    }  # fmt: skip
    with pytest.raises(ConfigError, match="metrics must be a list of words, got None"):
        typed({"metrics": None}, required=("metrics",))


@pytest.mark.parametrize(
    "words",
    [
        "search index=index out=x metrics=5",
        "mine out=null",
        "evaluate run=5",
        "export run=null out=x",
        "import format=trec_run path=5 out=x",
        "index out=x accelerator=nope",
        "train trainer.strategy=ddpp",
        "train optim.eps=-1",
        "train seed=-1",
        "tune tune=null",
        "train trainer.accelerator=cpu trainer.devices=10000",
        "train trainer.accelerator=cpu eval.devices=10000",
    ],
)
def test_no_library_is_asked_first(limbeck, words):
    status, out, err = limbeck(*words.split(), small=False)
    assert status == 2, err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("key", ["out", "path", "run", "paths"])
def test_only_shells_read_a_tilde(key):
    node = {"paths": {"cache": "~/x"}} if key == "paths" else {key: "~/x"}
    with pytest.raises(ConfigError, match=r"a path.* without ~, which only shells read|a path, a list of paths"):
        typed(node)
    assert typed({"out": "a~/b~"}) == {"out": "a~/b~"}


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes")],
    ids=["Python", "torch"],
)
def test_lack_of_memory_has_a_remedy(error):
    assert str(explain(error)).startswith(f"out of memory: {error or 'MemoryError'}")
    assert explain(RuntimeError("something else")) is None
