"""Score candidates with a teacher into a store."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck.config import Config, ConfigError, build
from limbeck.experiment.devices import each_device
from limbeck.experiment.spread import Share, shards, spread

if TYPE_CHECKING:
    from limbeck.scores.store import ScoreStore

log = logging.getLogger(__name__)

_SHARE = "LIMBECK_SHARE"
"""Environment variable with i/n in process i of n."""


def score(config: Config) -> Config | None:
    """Score the pairs that the store lacks, and log what the store contains.

    Parameters
    ----------
    config
        A composed configuration of ``conf/score.yaml`` as plain containers.

    Returns
    -------
    dict or None
        The record of the store, or the prompts shown; None in a process that does a share of the work.
    """
    if not config["splits"] or set(config["splits"]) - {"train", "dev", "test"}:
        raise ConfigError(f"splits must be some of train, dev and test, got {config['splits']}")
    if not config["show"] and config["out"] is None:
        raise ConfigError("out must be given: out=…")
    if not config["teacher"]:
        raise ConfigError("teacher=none scores nothing; choose one, for example teacher=minilm")
    if shards(config) > 1 and config["devices"] > 1:
        raise ConfigError("devices are processes of this machine, shards those of a launcher: set one of them to 1")
    number, _, count = os.environ.get(_SHARE, "").partition("/")
    return _score(config, (int(number), int(count)) if count else None)


def score_share(config: Config, share: Share) -> None:
    """Score a share of the parts; the process that waits for all finishes the store."""
    _score(config, share)


def _score(config: Config, share: Share | None) -> Config | None:
    from limbeck.artefacts import Artefacts
    from limbeck.experiment import assemble, emulated
    from limbeck.experiment.own_data import lasting
    from limbeck.experiment.prompts import first, look
    from limbeck.experiment.stages import Stages
    from limbeck.experiment.teaching import OnDemand
    from limbeck.scores.kinds import described
    from limbeck.teachers.scoring import score_into

    artefacts = Artefacts(Path(config["paths"]["cache"]))
    device = assemble.device(config["accelerator"], 1 if share else config["devices"])
    emulated.warn(config, device)
    pooling = build(config["pool"], key="pool")
    candidates = assemble.candidates(config["candidates"], device)
    collection = assemble.collection(config["data"], artefacts)
    stages = Stages(collection, artefacts, candidates, pooling)
    teaching = assemble.teaching(config["teacher"], collection, artefacts, device)
    if not isinstance(teaching, OnDemand):
        raise ConfigError("the scores of this teacher exist already: give it to limbeck train directly")
    lists: dict[str, list[str]] = {}
    for split in config["splits"]:
        if split == "train":
            found = stages.pool().lists()
        else:
            found = {query: ranking.ids[: config["depth"]] for query, ranking in stages.first_stage(split).items()}
        for query, documents in found.items():
            lists[query] = list(dict.fromkeys([*lists.get(query, []), *documents]))
    if config["show"]:
        return look(teaching.teacher, lists, config["limit"])
    if config["limit"] is not None:
        lists = first(lists, config["limit"])
    out, pairs = Path(config["out"]), sum(map(len, lists.values()))
    log.info("%s queries, %s pairs", f"{len(lists):,}", f"{pairs:,}")
    if share:
        score_into(
            out,
            teaching.teacher,
            lists,
            teaching.provenance,
            share=share,
            size=config["part_size"],
            texts=collection.query_texts,
        )
        return None
    start = time.perf_counter()
    devices, command = config["devices"], ["limbeck", *sys.argv[1:]]
    helpers = (lambda: each_device(devices, lambda _: command, _SHARE)) if devices > 1 else None
    if config["shards"] > 1:
        helpers = lambda: spread(score_share, config, out, config["shards"])  # noqa: E731
    store = score_into(
        out,
        teaching.teacher,
        lists,
        teaching.provenance,
        helpers=helpers,
        size=config["part_size"],
        data=lasting(config["data"], "collection"),
        texts=collection.query_texts,
    )
    assert store is not None
    seconds = time.perf_counter() - start
    mean, deviation = store.spread()
    tied = _tied(store)
    log.info("%r", store)
    log.info(
        "scores %.4g ± %.4g (%s); %.1f s, %.0f pairs/s; checksum %s",
        mean, deviation, described(store.meta), seconds, pairs / seconds, store.checksum,
    )  # fmt: skip
    if tied:
        log.info("%s of them have the score of another document of their query", f"{tied:,}")
    return {
        "store": str(out),
        "teacher": store.meta["teacher"],
        "kind": store.meta["kind"],
        "queries": len(lists),
        "pairs": pairs,
        "mean": mean,
        "deviation": deviation,
        "tied": tied,
        "seconds": round(seconds, 1),
        "checksum": store.checksum,
    }


def _tied(store: "ScoreStore") -> int:
    """Return how many pairs have the same score as another document of their query."""
    tied = 0
    for _, offsets, _, scores in store.batches():
        owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        order = np.lexsort((scores, owner))
        same = (np.diff(scores[order]) == 0) & (np.diff(owner[order]) == 0)
        tied += int((np.append(same, False) | np.insert(same, 0, False)).sum())
    return tied
