"""Which candidates a query brings to a step, and in which order the queries come.

Both are functions of the seed, the epoch and the query alone: not of the process, the number of workers, or the place
where a killed run took up again.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Dataset, Sampler

from limbeck.data.pool import Pool
from limbeck.registry import register
from limbeck.text.collate import Example

Draw = tuple[int, int]
"""(epoch, query number)."""


@register("sampler", "lists")
class ListSampler:
    """Lists of positives and negatives, and their batching.

    Parameters
    ----------
    positives
        At most this many positives a list, drawn uniformly; at least one.
    negatives
        Negatives a list, drawn uniformly without replacement; shorter lists are padded under the mask.
    negatives_depth
        Draw from the first so many negatives of the pool in rank order; null draws from all.
    batch_size
        Queries a step and process; times ``trainer.accumulate`` and processes is the batch of an update.
    refresh_ranks
        Re-rank the pools of the queries to come with the current student every so many updates (the authors of CKL:
        2,000, in a variant); null keeps the ranks of the first stage.
    workers
        Processes that assemble batches; 0 assembles in the training process.

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
        for name, value in (("positives", positives), ("negatives", negatives), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if negatives_depth is not None and negatives_depth < 1:
            raise ValueError(f"negatives_depth must be >= 1 or null, got {negatives_depth}")
        if refresh_ranks is not None and refresh_ranks < 1:
            raise ValueError(f"refresh_ranks must be >= 1 or null, got {refresh_ranks}")
        if workers < 0:
            raise ValueError(f"workers must be >= 0, got {workers}")
        self.positives = positives
        self.negatives = negatives
        self.negatives_depth = negatives_depth
        self.batch_size = batch_size
        self.refresh_ranks = refresh_ranks
        self.workers = workers

    def draw(self, pool: Pool, seed: int, epoch: int, query: int) -> Example:
        """Draw the list of a query in an epoch: positives first, then negatives in rank order."""
        rows = pool.rows(query)
        labels = pool.labels[rows]
        positive = np.flatnonzero(labels > 0)
        negative = np.flatnonzero(labels <= 0)[: self.negatives_depth]
        rng = np.random.default_rng([seed, epoch, _number(pool.query_ids[query])])
        chosen = np.concatenate([_some(rng, positive, self.positives), _some(rng, negative, self.negatives)])
        documents = pool.document_ids[rows.start : rows.stop].take(chosen).to_pylist()
        return Example(
            query_id=pool.query_ids[query],
            document_ids=documents,
            labels=labels[chosen],
            teacher_scores=None if pool.scores is None else pool.scores[rows][chosen],
            ranks=pool.ranks[rows][chosen],
        )


def _some(rng: np.random.Generator, positions: np.ndarray, count: int) -> np.ndarray:
    return positions if len(positions) <= count else np.sort(rng.choice(positions, count, replace=False))


def _number(query_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(query_id.encode(), digest_size=8).digest(), "little")


class Lists(Dataset[Example]):
    """Training lists by (epoch, query number)."""

    def __init__(self, pool: Pool, sampler: ListSampler, seed: int) -> None:
        self.pool = pool
        self.sampler = sampler
        self.seed = seed

    def __getitem__(self, index: Draw) -> Example:  # pyright: ignore[reportIncompatibleMethodOverride]
        epoch, query = index
        return self.sampler.draw(self.pool, self.seed, epoch, query)


class Order(Sampler[list[Draw]]):
    """Batches of a whole training: epoch after epoch in a new order each, cut into steps, shared among processes.

    Step n of the training holds the same queries whatever the number of processes that share it, as long as
    processes × batch size stays the same. Batches run over the border of epochs, so every batch is full.

    Parameters
    ----------
    queries
        Number of training queries.
    steps
        Batches of the whole training and each process.
    batch_size
        Queries of a batch and process.
    seed
        Seed of the order.
    rank, world
        This process and the number of processes.
    """

    def __init__(self, queries: int, steps: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.queries = queries
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.start = 0
        """Batches that an earlier, killed process has done."""

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
