"""Mine candidates: one run file per split, and the pool that training lists are drawn from."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import Config, ConfigError, Node, build, differences
from limbeck.experiment.spread import Share, shards, spread
from limbeck.locks import locked
from limbeck.secrecy import masked

if TYPE_CHECKING:
    from limbeck.data.candidates import Candidates
    from limbeck.data.collection import Collection
    from limbeck.experiment.stages import Stages
    from limbeck.experiment.teaching import Teaching

log = logging.getLogger(__name__)

_RECORD = "mine.json"
"""Written last: if it exists, the folder is finished."""


def mine(config: Config) -> Config:
    """Write the candidates of the splits and the training pool; a finished folder is only read.

    Parameters
    ----------
    config
        A composed configuration of ``conf/mine.yaml`` as plain containers.

    Returns
    -------
    dict
        The contents of ``mine.json``.
    """
    out, count = Path(config["out"]), shards(config)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", f"the candidates in {out}"):
        return _mine(config, out, count)


def search_share(config: Config, share: Share) -> None:
    """Search for a share of the queries of all splits; the result goes into the cache."""
    from limbeck.artefacts import Artefacts
    from limbeck.experiment import assemble
    from limbeck.experiment.stages import Stages

    artefacts, device = Artefacts(Path(config["paths"]["cache"])), assemble.device(config["accelerator"])
    candidates = assemble.candidates(config["candidates"], device)
    collection = assemble.collection(config["data"], artefacts)
    stages = Stages(collection, artefacts, candidates, build(config["pool"], key="pool"))
    for split in _splits(config["splits"], collection):
        stages.keep_share(split, share)


def _mine(config: Config, out: Path, count: int) -> Config:
    from limbeck.artefacts import Artefacts, write_json
    from limbeck.experiment import assemble, emulated
    from limbeck.experiment.own_data import lasting
    from limbeck.experiment.stages import Stages

    artefacts, device = Artefacts(Path(config["paths"]["cache"])), assemble.device(config["accelerator"])
    emulated.warn(config, device)
    pooling = build(config["pool"], key="pool")
    pooling.check(scored=bool(config["teacher"]))
    if config["teacher"] and not pooling.denoise.active:
        raise ConfigError(
            "the teacher is used only by pool.denoise here: set pool.denoise.absolute or pool.denoise.relative, or "
            "take teacher=none (limbeck score writes teacher scores)"
        )
    candidates = assemble.candidates(config["candidates"], device)
    collection = assemble.collection(config["data"], artefacts)
    splits = _splits(config["splits"], collection)
    stages = Stages(collection, artefacts, candidates, pooling)
    inputs: Config = {
        split: {**stages.candidate_inputs(split), "judgments": collection.split(split).judged()} for split in splits
    }
    teaching = None
    if "train" in splits:
        inputs["pool"] = {**pooling.identity(), "denoise": vars(pooling.denoise)}
        if config["teacher"]:
            teaching = assemble.teaching(config["teacher"], collection, artefacts, device)
            _check_collection(teaching, collection)
            inputs["teacher"] = teaching.identity
    inputs = json.loads(json.dumps(inputs, default=str))  # in the form in which the record will be read back
    record = _found(out, inputs, force=bool(config["force"]))
    if record is not None:
        return record
    if count > 1:
        spread(search_share, config, out, count)
    rows = [_write_split(stages, split, out, candidates, pooling.relevant) for split in splits]
    pool = _write_pool(stages, teaching, out) if "train" in splits else None
    record = {
        "collection": collection.name,
        "data": lasting(config["data"], "collection"),
        "candidates": candidates.label,
        "depth": candidates.depth,
        "splits": rows,
        "pool": pool,
        "command": ["limbeck", *masked(sys.argv[1:])],
        "inputs": inputs,
    }
    write_json(out / _RECORD, record)
    return record


def _check_collection(teaching: "Teaching", collection: "Collection") -> None:
    """Refuse a store with scores of another collection, as ``limbeck train`` does."""
    theirs = teaching.meta["collection"]
    ours = collection.named(theirs)
    if theirs not in (None, ours):
        raise ConfigError(
            f"teacher.path: the scores are of the collection with fingerprint {theirs}, {collection.name} has "
            f"{ours}; set data.* to the collection that was scored, or score this one (limbeck score)"
        )


def _splits(asked: str | list[str] | None, collection: "Collection") -> list[str]:
    names = list(collection.splits) if asked is None else [asked] if isinstance(asked, str) else list(asked)
    if not names:
        raise ConfigError("splits must be null or some of train, dev and test, got none")
    for name in names:
        collection.split(name)
    return list(dict.fromkeys(names))


def _found(out: Path, inputs: Node, *, force: bool) -> Config | None:
    """Return the record of a finished folder with the same inputs; with ``force``, clear the folder."""
    path = out / _RECORD
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if record is not None and not force:
        files = [out / f"{row['split']}.trec" for row in record["splits"]]
        if record["inputs"] == inputs and all(file.exists() for file in files):
            log.info("%s is finished; force=true writes it again", out)
            return record
        if record["inputs"] != inputs:
            differing = ", ".join(differences(record["inputs"], inputs))
            raise ConfigError(
                f"{out} holds candidates of other settings (they differ in {differing}); "
                "give another folder by out=…, or write over it by force=true"
            )
    path.unlink(missing_ok=True)
    if record is not None:  # delete only files that this command has written
        for row in record["splits"]:
            (out / f"{row['split']}.trec").unlink(missing_ok=True)
        for name in ("pool.arrow", "pool.json"):
            (out / name).unlink(missing_ok=True)
    return None


def _write_split(stages: "Stages", split: str, out: Path, candidates: "Candidates", relevant: int) -> Config:
    from limbeck.evaluation.runs import write_run
    from limbeck.rankings import ties

    start = time.perf_counter()
    found = stages.first_stage(split)
    write_run(out / f"{split}.trec", found, candidates.name.replace(" ", ""))
    seconds = time.perf_counter() - start
    judged = stages.collection.split(split).qrels
    lengths, tied, recalls = [], 0, []
    positives = hits = 0
    for ranking in found.values():  # one after the other, so that the cached rankings are never all in memory
        lengths.append(len(ranking.ids))
        tied += ties(ranking)
    for query, grades in judged.items():
        relevant_to = {document for document, grade in grades.items() if grade >= relevant}
        if relevant_to:
            here = len(relevant_to.intersection(found[query].ids)) if query in found else 0
            positives, hits = positives + len(relevant_to), hits + here
            recalls.append(here / len(relevant_to))
    return {
        "split": split,
        "queries": len(judged),
        "without_candidates": [query for query in judged if query not in found],
        "mean_length": sum(lengths) / len(judged),
        "longest": max(lengths, default=0),
        "ties": tied,
        "positives": positives,
        "positives_found": hits,
        "recall": sum(recalls) / len(recalls) if recalls else None,
        "seconds": round(seconds, 2),
    }


def _write_pool(stages: "Stages", teaching: "Teaching | None", out: Path) -> Config:
    from limbeck.data.pool import write_pool

    start = time.perf_counter()
    pool = stages.pool(teaching)
    write_pool(out / "pool.arrow", pool)
    return {**pool.counts, "seconds": round(time.perf_counter() - start, 2)}


def show(record: Node, out: Path) -> None:
    """Print a summary of a folder of mined candidates."""
    from limbeck.reporting.terminal import show_rows

    recall = f"recall@{record['depth']}" if record["depth"] else "recall"
    rows = [
        {
            "split": row["split"],
            "judged queries": f"{row['queries']:,}",
            "without candidates": f"{len(row['without_candidates']):,}",
            "mean length": f"{row['mean_length']:.1f}",
            "longest": f"{row['longest']:,}",
            "ties": f"{row['ties']:,}" if "ties" in row else "–",  # absent in records of earlier versions
            "positives found": f"{row['positives_found']:,} of {row['positives']:,}",
            recall: "–" if row["recall"] is None else f"{row['recall']:.4f}",
            "seconds": f"{row['seconds']:.1f}",
        }
        for row in record["splits"]
    ]
    show_rows(rows, list(rows[0]), f"{record['collection']}: {record['candidates']}", bold=False)
    if record["pool"] is not None:
        _show_pool(record["pool"], out)


def _show_pool(pool: Node, out: Path) -> None:
    from limbeck.reporting.terminal import show_rows

    denoised = pool.get("denoised", {})
    negatives = pool["negatives"] + pool["random_documents"] - denoised.get("negatives", 0)
    lists = {
        "queries": f"{pool['queries']:,}",
        "pairs": f"{pool['pairs'] - denoised.get('negatives', 0):,}",
        "positives": f"{pool['positives']:,}",
        "among the candidates": f"{pool['positives_among_the_candidates']:,}",
        "negatives a query": f"{negatives / pool['queries']:.1f}",
        "seconds": f"{pool['seconds']:.1f}",
    }
    show_rows([lists], list(lists), f"training pool: {out / 'pool.arrow'}", bold=False)
    reasons = {
        **pool["left_out"],
        "negatives_above_the_teacher's_margin": denoised.get("negatives", 0),
        "queries_kept_without_negatives": pool["queries_without_negatives"],
        "queries_kept_without_negatives_after_denoising": denoised.get("queries_left_without_negatives", 0),
    }
    counts = [{"left out": name.replace("_", " "), "how many": f"{n:,}"} for name, n in reasons.items() if n]
    if counts:
        show_rows(counts, ["left out", "how many"], "left out, and why", bold=False)
