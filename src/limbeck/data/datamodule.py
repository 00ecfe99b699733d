"""The training data as Lightning wants it."""

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
    """A loader that knows how long its batches were waited for."""

    waited: float = 0.0
    """Seconds, of all batches so far."""

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
    """A batch that leaves a worker; what arrives is the batch.

    Its bytes go through the pipe with it. PyTorch would send each tensor as a file of its own, and to open ten files
    takes the receiver, who is to train meanwhile, longer than to read their bytes.
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
    """Training batches, from the first step or from where a checkpoint stopped.

    Workers are forked: what is mapped from files (pool, teacher scores, kept tokens, texts) is shared with them, not
    copied. Each has two batches ready. For a GPU they lie in page-locked memory, and are copied while it computes.

    Parameters
    ----------
    pool, sampler, collator
        What to draw from, how, and how it becomes tensors.
    seed
        Seed of lists and order.
    batches
        Batches of the whole training and each process (steps × accumulation).
    dev
        Candidates to validate on; empty for none.
    judged
        As ``Lists`` takes it.
    targets
        Gives batches a dense teacher's vectors; None leaves them without.
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
        """Seconds that this process has waited for training batches."""
        return 0.0 if self._loader is None else self._loader.waited

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of what is left of the training."""
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
        """Move a batch without waiting for the device; Lightning would do that with tensors only, not with ours."""
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
        """Return one item: this process's share of the dev candidates; inference does its own batching."""
        assert self.trainer is not None
        share = sorted(self.dev)[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader([{query: self.dev[query] for query in share}], batch_size=None)  # pyright: ignore[reportArgumentType]

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches are done."""
        assert self.trainer is not None
        return {"batches_done": self.trainer.fit_loop.epoch_loop.batch_progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the batches that are done."""
        self._done = state_dict["batches_done"]


def _start_worker(worker: int) -> None:
    """Tokenise in one thread: the pool of threads that the parent may have used does not survive a fork.

    The collector leaves alone what the parent has allocated: looking at it writes to it, and would copy its pages.
    PyTorch looks for the parent every five seconds, and not at all while a worker waits for room in its pipe.
    """
    del worker
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in workers alone"
    end_with_parent(parent.pid)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.freeze()
