"""Teacher scores in the order of a pool."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.data.pool import Pool

log = logging.getLogger(__name__)

_NAMED = 5
"""Number of queries named in a message."""


def pairs_of(pool: Pool) -> str:
    """Return a fingerprint of a pool's pairs and their order."""
    digest = hashlib.blake2b("\n".join(pool.query_ids).encode(), digest_size=16)
    digest.update(pool.offsets.astype(np.int64).tobytes())
    documents = pool.document_ids
    if documents.offset:  # a slice: its buffers would hold the whole column
        documents = pa.concat_arrays([documents[:0], documents])
    for buffer in documents.buffers():
        if buffer is not None:
            digest.update(buffer)
    return digest.hexdigest()


def write_aligned(path: Path, scores: np.ndarray) -> None:
    """Write the teacher scores of a pool's pairs, in their order."""
    batch = pa.record_batch({"score": np.asarray(scores, dtype=np.float32)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read_aligned(path: Path) -> np.ndarray:
    """Memory-map the scores: processes that read them share the pages."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).get_batch(0)["score"].to_numpy()


def with_scores(pool: Pool, scores: np.ndarray, missing: Literal["error", "drop"], whose: str) -> Pool:
    """Return the pool with teacher scores.

    Parameters
    ----------
    pool
        The pool.
    scores
        Scores in the order of the pool's pairs; NaN for a missing score.
    missing
        ``drop`` removes pairs without a score, and queries that lose their last positive; both are counted and logged.
    whose
        Source of the scores, for messages.

    Raises
    ------
    ConfigError
        With ``error``: scores are missing; the message counts them and names some. With ``drop``: no query is left.
    """
    absent = np.isnan(scores)
    if not absent.any():
        return replace(pool, scores=scores)
    lacking = np.add.reduceat(absent.astype(np.int64), pool.offsets[:-1])
    queries = np.flatnonzero(lacking)
    lacking = (
        f"{whose} lacks {int(absent.sum()):,} of {len(absent):,} pairs, of {len(queries):,} of {len(pool):,} queries"
    )
    if missing == "error":
        first = int(np.flatnonzero(absent)[0])
        query = pool.query_ids[int(np.searchsorted(pool.offsets, first, side="right")) - 1]
        raise ConfigError(
            f"{lacking}, e.g. query {query!r}, document {pool.document_ids[first].as_py()!r}. Score them (limbeck "
            "score), take candidates that have scores, or leave such candidates out with teacher.missing=drop"
        )
    kept = ~absent
    positives = np.add.reduceat((kept & (pool.labels > 0)).astype(np.int64), pool.offsets[:-1])
    lost = np.flatnonzero(positives == 0)
    kept &= np.repeat(positives > 0, np.diff(pool.offsets))
    if len(lost) == len(pool):
        raise ConfigError(f"{lacking}: no query keeps a positive with a score; is this the teacher of these queries?")
    log.warning("%s; they are dropped", lacking)
    if len(lost):
        named = ", ".join(pool.query_ids[i] for i in lost[:_NAMED]) + (", …" if len(lost) > _NAMED else "")
        log.warning("%d queries lose their last positive by this and are left out: %s", len(lost), named)
    counts = {"unscored_pairs": int(absent.sum()), "queries_without_scored_positive": len(lost)}
    return replace(replace(pool, scores=scores).select(kept), counts={**pool.counts, "teacher": counts})
