"""``shards=N``: one command that a launcher spreads; the bytes are those of one process, and one place says how far."""

import json
import logging

import pytest

from limbeck import progress
from limbeck.config import ConfigError
from limbeck.data import candidates
from limbeck.experiment import spread
from limbeck.experiment.spread import Watch, made, shards

TINY = ["backbone.width=16", "backbone.layers=1", "backbone.heads=2", "backbone.untrained=true", "accelerator=cpu"]
WORLD = [f"data.world.{key}={value}" for key, value in
         {"documents": 200, "topics": 6, "train": 60, "dev": 10, "test": 20}.items()]  # fmt: skip


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_times(record):
    if isinstance(record, dict):
        return {
            key: without_times(each) for key, each in record.items() if key not in ("seconds", "command", "created")
        }
    return [without_times(each) for each in record] if isinstance(record, list) else record


@pytest.fixture
def command(limbeck, cache):
    def call(verb, *words, world=True, status=0):
        found, out, err = limbeck(verb, *(WORLD if world else []), f"paths.cache={cache}", *words, small=False)
        assert found == status, err
        return out, err

    return call


def test_an_index_and_a_search_in_shards_are_those_of_one_process(command, tmp_path):
    words = [*TINY, "shard_size=30"]
    command("index", *words, "out=one")
    _, err = command("index", *words, "out=some", "shards=3")
    assert [line for line in err.splitlines() if "shards have ended" in line] == [
        f"{done} of 3 shards have ended" for done in (1, 2, 3)
    ]
    assert "exact index ready" in err
    assert err.count("index ready") == 1  # by the process that was given the command alone
    one, some = files(tmp_path / "one"), files(tmp_path / "some")
    assert one == {name: some[name] for name in one}
    assert {name for name in set(some) - set(one) if not name.endswith(".lock")} == set()
    table, _ = command("search", "index=one", "out=one.trec", "accelerator=cpu", world=False)
    shared, _ = command("search", "index=one", "out=two.trec", "accelerator=cpu", "shards=3", world=False)
    assert (tmp_path / "two.trec").read_bytes() == (tmp_path / "one.trec").read_bytes()
    assert shared.replace("two.trec", "one.trec") == table
    assert not list(tmp_path.glob(".*.shards"))
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.usefixtures("forked_joblib")
def test_processes_of_joblib_make_the_same_index(command, tmp_path):
    command("index", *TINY, "shard_size=30", "out=one")
    command("index", *TINY, "shard_size=30", "out=some", "shards=2", "launcher=joblib")
    one, some = files(tmp_path / "one"), files(tmp_path / "some")
    assert one == {name: some[name] for name in one}


def test_scores_in_shards_are_those_of_one_process(command, tmp_path):
    words = ["part_size=50", "splits=[train,dev]"]
    command("score", *words, "out=one")
    _, err = command("score", *words, "out=some", "shards=4")
    assert "4 of 4 shards have ended" in err
    one, some = files(tmp_path / "one"), files(tmp_path / "some")
    assert list(one) == list(some)
    for name in one:
        if name.endswith(".json"):
            assert without_times(json.loads(one[name])) == without_times(json.loads(some[name])), name
        else:
            assert one[name] == some[name], name


def test_candidates_in_shards_are_those_of_one_process(command, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "BLOCK", 8)  # eight blocks of training queries
    searched = []
    write = candidates.array_run.write
    monkeypatch.setattr(candidates.array_run, "write", lambda path, run: searched.append(len(run)) or write(path, run))
    command("mine", "out=one", f"paths.cache={tmp_path}/one_cache")
    whole = len(searched)
    _, err = command("mine", "out=some", "shards=3", f"paths.cache={tmp_path}/some_cache")
    assert "3 of 3 shards have ended" in err
    assert len(searched) == 2 * whole  # none was searched again when all were put together
    for name in ("train.trec", "dev.trec", "test.trec", "pool.arrow"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    records = [json.loads((tmp_path / name / "mine.json").read_text()) for name in ("one", "some")]
    assert without_times(records[0]) == without_times(records[1])


def fails_in_the_second(config, share):
    if share[0] == 1:
        raise ConfigError(f"{config['what']} is wrong")


def test_a_shard_that_fails_is_named_and_the_others_are_kept(tmp_path):
    config = {"launcher": {"_target_": "launcher/serial"}, "what": "depth"}
    with pytest.raises(spread.FailedError, match=r"1 of 3 shards failed; .*\n  shard 2: depth is wrong$"):
        spread.spread(fails_in_the_second, config, tmp_path / "out", 3)


def works(config, share):
    with progress.Step("encoding", 10) as step:
        for _ in range(5):
            config["clock"][0] += 2.0
            step.advance(1)
    config["seen"].append(config["watch"].text())


def test_all_shards_are_seen_in_one_line(tmp_path, monkeypatch, caplog):
    now, seen, watch = [0.0], [], Watch(tmp_path, 3)
    monkeypatch.setattr(progress, "clock", lambda: now[0])
    monkeypatch.setattr(spread.time, "monotonic", lambda: now[0])
    config = {"clock": now, "watch": watch, "seen": seen}
    with caplog.at_level(logging.INFO, logger="limbeck"):
        assert made(works, {"config": config, "number": 1, "of": 3, "folder": str(tmp_path), "quiet": False}) == {}
        watch.ended(failed=0)
    assert seen == ["0 of 3 shards have ended; 2: encoding, 50 %"]
    assert watch.text() == "1 of 3 shards have ended"


@pytest.mark.parametrize(
    ("given", "told"),
    [({"shards": 0}, "shards must be >= 1, got 0"), ({"shards": 2, "shard": "1/2"}, "shard=1/2 is one of several")],
)
def test_numbers_of_shards_that_cannot_be(given, told):
    with pytest.raises(ConfigError, match=told):
        shards(given)
