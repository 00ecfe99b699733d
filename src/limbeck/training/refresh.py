"""Refresh of the candidates' ranks by the current student during training."""

from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from limbeck.config import ConfigError
from limbeck.data.datamodule import TrainingData
from limbeck.evaluation.ranking import check_finite, ranked
from limbeck.inference import score_lists
from limbeck.types import Batch

Ranks = dict[str, dict[str, int]]
"""Query id → document id → 1-based rank."""


class RankRefresh(Callback):
    """Re-ranks the candidate pools of the coming queries with the current student, every ``every`` updates.

    The ranks are π(d) of CKL; the authors' code has a variant that refreshes them every 2,000 steps. A refresh re-ranks
    the pools of exactly the queries that are drawn before the next refresh. The new ranks are written into each batch
    at its step, so that loader workers and prefetching cannot use old ranks. Processes share the work and exchange
    their ranks. Checkpoints hold the ranks, so a resumed run continues with them.

    Parameters
    ----------
    every
        Updates between refreshes; before the first one, batches have the stored ranks.
    data
        The training data.
    """

    def __init__(self, every: int, data: TrainingData) -> None:
        self._every = every
        self._data = data
        self._ranks: Ranks = {}
        self._renewed_at = 0

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Refresh the ranks if due, and write them into the batch."""
        step = trainer.global_step
        if step and step % self._every == 0 and step != self._renewed_at:
            self._ranks = self._renew(trainer, pl_module, batch_idx)
            self._renewed_at = step
        if not self._ranks:
            return
        assert batch.ranks is not None
        ranks = np.ones(batch.ranks.shape, dtype=np.float32)
        for row, (query, documents) in enumerate(zip(batch.query_ids, batch.document_ids, strict=True)):
            known = self._ranks[query]
            ranks[row, : len(documents)] = [known[document] for document in documents]
        batch.ranks.copy_(torch.from_numpy(ranks))

    def _renew(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch_idx: int) -> Ranks:
        pool = self._data.pool
        coming = self._data.coming(batch_idx, self._every * trainer.accumulate_grad_batches)
        share = coming[trainer.global_rank :: trainer.world_size]
        lists = {pool.query_ids[query]: pool.documents(query) for query in share}
        student: Any = module.student
        scores = score_lists(student, self._data.collator, lists)
        run = ranked(lists, scores)
        try:
            check_finite(run)
        except ValueError as error:
            raise ConfigError(f"sampler.refresh_ranks: {error} to rank by at step {trainer.global_step}") from None
        mine: Ranks = {
            query: {document: rank for rank, document in enumerate(ranking.ids, 1)} for query, ranking in run.items()
        }
        parts: list[Ranks | None] = [mine] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, mine)
        return {query: ranks for part in parts if part for query, ranks in part.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the current ranks."""
        return {"ranks": self._ranks, "renewed_at": self._renewed_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the ranks of a checkpoint."""
        self._ranks = state_dict["ranks"]
        self._renewed_at = state_dict["renewed_at"]
