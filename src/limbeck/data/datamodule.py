"""The training data as a Lightning data module."""

import copyreg
import gc
import io
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from limbeck.data.judged import Judged
from limbeck.data.pool import Pool
from limbeck.data.sampling import Lists, ListSampler, Order
from limbeck.data.targets import Targets
from limbeck.processes import end_with_parent
from limbeck.text.collate import Collator, Example
from limbeck.types import Batch, Run


class Timed(DataLoader[Any]):
    """A loader that measures how long the training waited for its batches."""

    waited: float = 0.0
    """Seconds waited for all batches so far."""

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the batches."""
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch


class Sent:
    """Wraps a batch for its way from a worker to the training; it is unpickled as the batch itself.

    All tensors travel through the pipe in one byte string. PyTorch would send each tensor as a file, and opening ten
    files takes the training process longer than reading their bytes.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle tensors as arrays."""
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, protocol=5)
        pickler.dispatch_table = copyreg.dispatch_table | {torch.Tensor: _by_value}
        pickler.dump(self._batch)
        return pickle.loads, (stream.getvalue(),)


def _by_value(tensor: torch.Tensor) -> tuple[Any, ...]:
    return torch.from_numpy, (tensor.numpy(),)


class _Sender:
    """Collates in a worker."""

    def __init__(self, collate: Callable[[Sequence[Example]], Batch]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[Example]) -> Sent:
        return Sent(self._collate(examples))


class TrainingData(lightning.LightningDataModule):
    """Training batches, from the first step or from the step of a checkpoint.

    Workers are forked, so that memory-mapped files (pool, teacher scores, cached tokens, texts) are shared with them,
    not copied. Each worker has two batches ready. For a GPU, batches are in page-locked memory and are copied while it
    computes.

    Parameters
    ----------
    pool
        The pool to draw lists from.
    sampler
        Draws the lists.
    collator
        Turns lists into tensors.
    seed
        Seed of lists and order.
    batches
        Batches per process in the whole training (steps × accumulation).
    dev
        Candidates to validate on; empty for none.
    judged
        See ``Lists``.
    targets
        Adds a dense teacher's vectors to batches; None adds none.
    """

    def __init__(
        self,
        pool: Pool,
        sampler: ListSampler,
        collator: Collator,
        seed: int,
        batches: int,
        dev: Run,
        judged: Judged | None = None,
        targets: Targets | None = None,
    ) -> None:
        super().__init__()
        self.dev = dev
        self.pool = pool
        self.sampler = sampler
        self.collator = collator
        self.seed = seed
        self.batches = batches
        self.judged = judged
        self.targets = targets
        self._done = 0
        self._loader: Timed | None = None

    @property
    def waited(self) -> float:
        """Seconds this process has waited for training batches."""
        return 0.0 if self._loader is None else self._loader.waited

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the remaining batches."""
        assert self.trainer is not None
        order = self._order(self.trainer.global_rank)
        order.start = self._done
        workers = self.sampler.workers
        self._loader = Timed(
            Lists(self.pool, self.sampler, self.seed, self.judged),  # pyright: ignore[reportArgumentType]
            batch_sampler=order,
            collate_fn=_Sender(self.collate) if workers else self.collate,
            num_workers=workers,
            worker_init_fn=_start_worker,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            persistent_workers=workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )
        return self._loader

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Return examples as a batch, with the teacher's vectors if there are any."""
        batch = self.collator(examples)
        return batch if self.targets is None else self.targets(batch)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Copy a batch to the device without waiting; Lightning does so only for tensors, not for batches."""
        if isinstance(batch, Batch):
            return batch.to(device, non_blocking=True)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _order(self, rank: int) -> Order:
        assert self.trainer is not None
        size, world = self.sampler.batch_size, self.trainer.world_size
        return Order(len(self.pool), self.batches, size, self.seed, rank, world)

    def coming(self, batch: int, count: int) -> list[int]:
        """Return the numbers of the queries that all processes draw in ``count`` batches from ``batch`` on."""
        assert self.trainer is not None
        drawn: set[int] = set()
        for rank in range(self.trainer.world_size):
            order = self._order(rank)
            order.start, order.steps = batch, min(order.steps, batch + count)
            drawn |= {query for step in order for _, query in step}
        return sorted(drawn)

    def val_dataloader(self) -> DataLoader[Run]:
        """Return one item: this process's share of the dev candidates; inference makes its own batches."""
        assert self.trainer is not None
        share = sorted(self.dev)[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader([{query: self.dev[query] for query in share}], batch_size=None)  # pyright: ignore[reportArgumentType]

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches are done."""
        assert self.trainer is not None
        return {"batches_done": self.trainer.fit_loop.epoch_loop.batch_progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the batches that are done."""
        self._done = state_dict["batches_done"]


def _start_worker(worker: int) -> None:
    """Set up a worker: tokenise in one thread, as the parent's thread pool does not survive a fork.

    ``gc.freeze`` keeps the garbage collector from writing to objects of the parent, which would copy their pages. The
    worker ends with its parent: PyTorch checks for the parent only every five seconds, and not while a worker waits for
    room in its pipe.
    """
    del worker
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in workers alone"
    end_with_parent(parent.pid)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.freeze()
