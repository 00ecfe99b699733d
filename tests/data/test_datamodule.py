"""What the loader hands to the step, and how long it is waited for."""

import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from limbeck.data.datamodule import TrainingData
from limbeck.data.pool import Pool
from limbeck.data.sampling import ListSampler
from limbeck.types import Batch, Tokens

LISTS = 12


@pytest.fixture
def pool():
    depth = 9
    return Pool(
        query_ids=[f"q{i}" for i in range(LISTS)],
        offsets=np.arange(LISTS + 1) * depth,
        document_ids=pa.array([f"d{i}" for i in range(LISTS * depth)]),
        labels=np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0], LISTS).astype(np.int16),
        ranks=np.tile(np.arange(1, depth + 1), LISTS).astype(np.int32),
        scores=np.random.default_rng(0).normal(size=LISTS * depth).astype(np.float32),
    )


def collate(examples):
    """Make a batch whose tokens are the numbers of the documents."""
    numbers = torch.tensor([[int(name[1:]) for name in example.document_ids] for example in examples])
    tokens = Tokens(numbers.reshape(-1, 1), torch.ones(numbers.numel(), 1, dtype=torch.long), lengths=[1] * 4)
    return Batch(
        queries=None,
        documents=tokens,
        index=torch.arange(numbers.numel()).reshape(numbers.shape),
        mask=torch.ones(numbers.shape, dtype=torch.bool),
        labels=torch.tensor(np.stack([example.labels for example in examples])).float(),
        teacher_scores=torch.tensor(np.stack([example.teacher_scores for example in examples])),
        ranks=torch.tensor(np.stack([example.ranks for example in examples])).float(),
        query_ids=[example.query_id for example in examples],
        document_ids=[example.document_ids for example in examples],
    )


def data(pool, workers=0, batches=7, collator=collate):
    sampler = ListSampler(negatives=3, batch_size=4, workers=workers)
    made = TrainingData(pool, sampler, collator, 1, batches, {})
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    made.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=strategy)
    return made


def test_workers_send_the_bits_that_one_process_makes(pool):
    alone, helped = (list(data(pool, workers).train_dataloader()) for workers in (0, 2))
    assert len(alone) == len(helped) == 7
    for one, other in zip(alone, helped, strict=True):
        assert isinstance(other, Batch)
        assert (one.query_ids, one.document_ids, one.queries) == (other.query_ids, other.document_ids, other.queries)
        assert one.documents.lengths == other.documents.lengths
        for name in ("index", "mask", "labels", "teacher_scores", "ranks"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
        torch.testing.assert_close(one.documents.input_ids, other.documents.input_ids, rtol=0, atol=0)
        other.ranks.copy_(other.ranks + 1)  # renewed ranks are written into a batch


def test_what_is_waited_for_is_counted_and_the_step_is_not(pool):
    def slow(examples):
        time.sleep(0.02)
        return collate(examples)

    made = data(pool, collator=slow)
    assert made.waited == 0
    for _ in made.train_dataloader():
        time.sleep(0.1)
    assert 7 * 0.02 <= made.waited < 7 * 0.1


def test_a_failure_in_a_worker_is_told(pool):
    def failing(examples):
        raise ValueError("no such text")

    with pytest.raises(ValueError, match="no such text"):
        next(iter(data(pool, 1, collator=failing).train_dataloader()))


def test_a_resumed_loader_goes_on_behind_what_is_done(pool):
    whole = list(data(pool).train_dataloader())
    resumed = data(pool)
    resumed.load_state_dict({"batches_done": 5})
    assert [batch.query_ids for batch in resumed.train_dataloader()] == [batch.query_ids for batch in whole[5:]]
