"""Draw the training lists of queries, and the order of the queries.

Both depend only on the seed, the epoch and the query: not on the process, the number of workers, or the step at which a
killed run resumed.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset, Sampler

from limbeck.data.judged import Judged
from limbeck.data.pool import Pool
from limbeck.registry import register
from limbeck.scores.keys import ID
from limbeck.text.collate import Example

Draw = tuple[int, int]
"""(epoch, query number)."""

_MOST_WORKERS = 256
"""More than any machine can use: all workers are started at once, and each is a process with its own memory."""


@register("sampler", "lists")
class ListSampler:
    """Draws lists of positives and negatives, and sets the batch size.

    Parameters
    ----------
    positives
        Most positives per list, drawn uniformly; at least one.
    negatives
        Negatives per list, drawn uniformly without replacement; shorter lists are padded under the mask.
    negatives_depth
        Draw from the first ``negatives_depth`` negatives of the pool in rank order; null draws from all.
    batch_size
        Queries per step and process; the batch of an update is this times ``trainer.accumulate`` times processes.
    refresh_ranks
        Number of updates after which the current student re-ranks the pools of the coming queries (the authors of CKL:
        2,000, in a variant); null keeps the ranks of the first stage.
    workers
        Processes that assemble batches. 0 assembles them in the training process, which costs little if tokens are
        cached; raise it if the log says that the training waits for data. The batches are the same.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        positives: int = 1,
        negatives: int = 7,
        negatives_depth: int | None = None,
        batch_size: int = 32,
        refresh_ranks: int | None = None,
        workers: int = 0,
    ) -> None:
        for name, value in (("positives", positives), ("negatives", negatives)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if negatives_depth is not None and negatives_depth < 1:
            raise ValueError(f"negatives_depth must be >= 1 or null, got {negatives_depth}")
        if refresh_ranks is not None and refresh_ranks < 1:
            raise ValueError(f"refresh_ranks must be >= 1 or null, got {refresh_ranks}")
        for name, value, least, most in (("batch_size", batch_size, 1, 2**20), ("workers", workers, 0, _MOST_WORKERS)):
            if not least <= value <= most:
                raise ValueError(f"{name} must be >= {least} and <= {most}, got {value}")
        self.positives = positives
        self.negatives = negatives
        self.negatives_depth = negatives_depth
        self.batch_size = batch_size
        self.refresh_ranks = refresh_ranks
        self.workers = workers

    def choose(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Choose from the pool of a query, positives first; return positions in the pool, ascending."""
        positives = int(np.count_nonzero(labels > 0))
        negatives = len(labels) - positives
        if self.negatives_depth is not None:
            negatives = min(negatives, self.negatives_depth)
        chosen = [_some(rng, positives, self.positives), positives + _some(rng, negatives, self.negatives)]
        return np.concatenate(chosen)


def _some(rng: np.random.Generator, there: int, count: int) -> np.ndarray:
    return np.arange(there) if there <= count else np.sort(rng.choice(there, count, replace=False))


def _number(query_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(query_id.encode(), digest_size=8).digest(), "little")


class Lists(Dataset[Example]):
    """Training lists by (epoch, query number).

    A whole batch is taken from the columns at once. No Python object per query is held: even a worker that only reads
    such objects would copy their pages, since each access changes a reference count.

    Parameters
    ----------
    pool
        The pool to draw from.
    sampler
        Draws the lists.
    seed
        Seed of the draws.
    judged
        Judgments of the pool's queries, for losses over the documents of other queries; None leaves them out.
    """

    def __init__(self, pool: Pool, sampler: ListSampler, seed: int, judged: Judged | None = None) -> None:
        self._pool = pool
        self._query_ids = pa.array(pool.query_ids, ID)
        self._sampler = sampler
        self._seed = seed
        self._judged = judged

    def __len__(self) -> int:
        return len(self._query_ids)

    def __getitem__(self, index: Draw) -> Example:
        """Return one list."""
        return self.__getitems__([index])[0]

    def __getitems__(self, batch: Sequence[Draw]) -> list[Example]:
        """Return the lists of a batch: positives first, then negatives in rank order."""
        pool = self._pool
        query_ids = self._query_ids.take(pa.array([query for _, query in batch], pa.int64())).to_pylist()
        chosen = []
        for (epoch, query), query_id in zip(batch, query_ids, strict=True):
            rng = np.random.default_rng([self._seed, epoch, _number(query_id)])
            owned = pool.rows(query)
            chosen.append(owned.start + self._sampler.choose(pool.labels[owned], rng))
        rows = np.concatenate(chosen)
        document_ids = pool.document_ids.take(pa.array(rows)).to_pylist()
        labels, ranks = pool.labels[rows], pool.ranks[rows]
        scores = None if pool.scores is None else pool.scores[rows]
        ends = np.cumsum([len(each) for each in chosen]).tolist()
        return [
            Example(
                query_id=query_id,
                document_ids=document_ids[start:end],
                labels=labels[start:end],
                teacher_scores=None if scores is None else scores[start:end],
                ranks=ranks[start:end],
                relevant=None if self._judged is None else self._judged.of(query),
            )
            for (_, query), query_id, start, end in zip(batch, query_ids, [0, *ends], ends, strict=False)
        ]


class Order(Sampler[list[Draw]]):
    """Batches of a whole training: epochs, each in a new order, cut into steps and shared among processes.

    Step n of the training has the same queries for any number of processes, as long as processes × batch size stays the
    same. A batch may span two epochs, so that every batch is full.

    Parameters
    ----------
    queries
        Number of training queries.
    steps
        Batches per process in the whole training.
    batch_size
        Queries per batch and process.
    seed
        Seed of the order.
    rank
        Number of this process.
    world
        Number of processes.
    """

    def __init__(self, queries: int, steps: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.queries = queries
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.start = 0
        """Batches done by an earlier, killed process."""

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        whole = self.batch_size * self.world
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.steps):
            batch = []
            for position in range(step * whole + self.rank, (step + 1) * whole, self.world):
                if position // self.queries != epoch:
                    epoch = position // self.queries
                    order = np.random.default_rng([self.seed, epoch]).permutation(self.queries)
                batch.append((epoch, int(order[position % self.queries])))
            yield batch
