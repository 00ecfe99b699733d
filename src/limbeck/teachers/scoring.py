"""Adds a teacher's scores to a score store: only missing pairs, in parts that survive a kill."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck import room
from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.plan import BLOCK, Plan
from limbeck.progress import Step
from limbeck.scores import query_texts
from limbeck.scores.keys import ID
from limbeck.scores.parts import Block
from limbeck.scores.query_texts import Texts
from limbeck.scores.store import META, ScoreStore
from limbeck.scores.writer import Provenance, StoreWriter
from limbeck.teachers.base import CHECKED, ChangingTeacher, Lists, Pair, ScoringTeacher

log = logging.getLogger(__name__)

_HELD = 24
"""Bytes of memory per pair of a plan: indices of query, document and position in a part."""

PART, ROW = 24, 12
"""Bytes on disk per pair, in a part and in the finished store; at the end both exist."""

_FEWER = "score fewer pairs (candidates.depth, pool.negatives), or write to another disk (out, paths.cache)"


def open_matching(path: Path, provenance: Provenance) -> ScoreStore | None:
    """Open a store to add scores to; None if there is none yet.

    Raises
    ------
    ConfigError
        The store has another teacher or another collection.
    """
    if not (path / META).is_file():
        return None
    store = ScoreStore.open(path)
    wanted = asdict(provenance)
    fields = ["teacher", "prompt", "max_length", "dtype", "revision", "collection"]
    if "values" in store.meta:  # earlier versions had fewer kinds and no scale
        fields += ["kind", "scale"]
    for field in fields:
        if store.meta[field] != wanted[field]:
            raise ConfigError(
                f"{path}: the score store there has {field} {store.meta[field]!r}, not {wanted[field]!r}; "
                "choose another folder with out=…, or delete that one"
            )
    return store


def without(lists: Lists, store: ScoreStore | None) -> dict[str, list[str]]:
    """Return the lists without the pairs that a store has, and without lists that are then empty."""
    if store is None:
        return {query: list(documents) for query, documents in lists.items() if len(documents)}
    flat = pa.array([document for documents in lists.values() for document in documents], ID)
    offsets = np.cumsum([0, *map(len, lists.values())])
    absent = np.isnan(store.lookup_many(list(lists), offsets, flat))
    left = {}
    for (query, documents), start, stop in zip(lists.items(), offsets[:-1], offsets[1:], strict=True):
        kept = [document for document, lacking in zip(documents, absent[start:stop], strict=True) if lacking]
        if kept:
            left[query] = kept
    return left


def looked_up(
    stores: Sequence[ScoreStore], queries: Sequence[str], offsets: np.ndarray, documents: pa.Array
) -> np.ndarray:
    """Return the scores of lists from several stores.

    Parameters
    ----------
    stores
        Stores; the first one that has a pair gives its score.
    queries, offsets, documents
        The list of query i is ``documents[offsets[i]:offsets[i + 1]]``.

    Returns
    -------
    numpy.ndarray
        float32, in the order of ``documents``; NaN for pairs that no store has.
    """
    found = np.full(len(documents), np.nan, dtype=np.float32)
    for store in stores:
        found = np.where(np.isnan(found), store.lookup_many(queries, offsets, documents), found)
    return found


def score_into(
    path: Path,
    teacher: ScoringTeacher,
    lists: Lists,
    provenance: Provenance,
    *,
    share: tuple[int, int] | None = None,
    helpers: Callable[[], None] | None = None,
    size: int = BLOCK,
    data: Mapping[str, Any] | None = None,
    texts: Texts | None = None,
) -> ScoreStore | None:
    """Score the pairs that a store lacks, and add them to it.

    Each part is written as soon as it is scored. After a kill, the same call scores only the missing parts, and the
    finished store is the same.

    Parameters
    ----------
    path
        Folder of the store, created if it does not exist.
    teacher
        The teacher.
    lists
        Query id → document ids.
    provenance
        Recorded in the store. An existing store must have the same teacher, revision, lengths and collection.
    share
        (i, n): score only parts i, i + n, …; another process waits for all n shares and finishes the store.
    helpers
        Called before the first part is scored; returns when other processes have scored their shares.
    size
        Distinct documents (bi-encoders) or pairs (other teachers) per part, which is what a kill can lose.
    data
        Configuration of the collection; recorded in the store, so that commands find the collection of a store.
    texts
        Function from query ids to texts, to check that they have not changed since they were scored; None skips the
        check.

    Returns
    -------
    ScoreStore or None
        The store with all pairs; None for a share.

    Raises
    ------
    ConfigError
        The store has another teacher or collection, or a query's text has changed.
    """
    if texts is not None:
        check_texts(path, list(lists), texts)
    writer = StoreWriter(path, provenance)
    if share is not None:
        plan = teacher.plan(without(lists, open_matching(path, provenance)), size)
        _score(writer, teacher, plan, range(share[0], len(plan), share[1]))
        return None
    store = open_matching(path, provenance)
    if store is not None and not without(lists, store):
        return store  # without a lock, so that the folder may be read-only
    with writer:
        store = open_matching(path, provenance)
        left = without(lists, store)
        if store is not None and not left:
            return store
        plan = teacher.plan(left, size)
        begin(writer, plan, provenance)
        done = writer.done()
        lacking = sum(len(plan.part(number)) for number in range(len(plan)) if number not in done)
        room.check_disk(lacking * PART + plan.pairs * ROW, path, f"scoring {plan.pairs:,} pairs", _FEWER)
        if texts is not None:
            query_texts.record(path, plan.query_ids, texts)
        if isinstance(teacher, ChangingTeacher):
            known = writer.sample(CHECKED) or ([] if store is None else store.sample(CHECKED))
            check_same(teacher, known)
        if helpers is not None:
            helpers()
        _score(writer, teacher, plan, range(len(plan)))
        return writer.seal(before=store, notes=None if data is None else {"data": dict(data)})


def check_texts(path: Path, queries: Sequence[str], texts: Texts) -> None:
    """Raise ``ConfigError`` if a query's text has changed since it was scored; the message names one such query."""
    changed = query_texts.changed(path, queries, texts)
    if changed:
        raise ConfigError(
            f"{path}: query {changed[0]!r} had another text when it was scored ({len(changed)} such queries); score "
            "them again into another folder (limbeck score out=…)"
        )


def check_same(teacher: ChangingTeacher, known: Sequence[tuple[str, str, float]]) -> None:
    """Check that a teacher on a server still gives the scores of known pairs; without pairs, check nothing.

    Raises
    ------
    ConfigError
        Its scores have changed.
    """
    if known:
        teacher.check_same([Pair(*each) for each in known])
        log.info("%d known pairs were scored again and have the same scores", len(known))


def begin(writer: StoreWriter, plan: Plan, provenance: Provenance) -> None:
    """Keep the parts of a killed call with the same work; remove parts of other work."""
    note = writer.parts / "plan.json"
    digest = hashlib.blake2b(digest_size=16)
    for values in (plan.query_ids, plan.document_ids):
        digest.update("\n".join(values).encode())
    for numbers in (plan.queries, plan.documents, plan.lengths):
        digest.update(numbers.tobytes())
    same = {**asdict(provenance), "command": None}
    work = {"pairs": plan.pairs, "parts": len(plan), "digest": digest.hexdigest(), "provenance": same}
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == work:
        log.info("resuming: %d of %d parts are done", len(writer.done()), len(plan))
        return
    shutil.rmtree(writer.parts)
    writer.parts.mkdir()
    write_json(note, work)


def _score(writer: StoreWriter, teacher: ScoringTeacher, plan: Plan, numbers: range) -> None:
    left = [number for number in numbers if number not in writer.done()]
    if not left:
        return
    score = teacher.scorer(plan)
    total = sum(len(plan.part(number)) for number in left)
    with Step(f"scoring into {writer.path}", total, "pairs", needs=lambda: _needs(writer.path, plan)) as step:
        for number in left:
            step.begin(len(plan.part(number)))
            writer.add(number, Block(*plan.ids(number), score(number)))
            step.advance(len(plan.part(number)))


def _needs(path: Path, plan: Plan) -> str:
    return room.words(memory=plan.pairs * _HELD, disk=plan.pairs * (PART + ROW), folder=path, instead=_FEWER)
