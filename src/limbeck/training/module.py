"""The one LightningModule, for every kind of student."""

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from limbeck.backbones.chunks import chunks_of
from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.ranking import rerank
from limbeck.losses.diagnostics import averaged, sums
from limbeck.losses.distributed import totals_over_processes
from limbeck.students.base import Student
from limbeck.text.collate import Collator
from limbeck.training.guards import poisoned, signs
from limbeck.training.objective import Objective
from limbeck.training.optim import AdamW
from limbeck.types import Batch, Qrels, Run, StudentOutput


@dataclass
class Validation:
    """How the dev candidates that the student re-ranks while it trains are measured."""

    qrels: Qrels
    collator: Collator
    metric: str

    @property
    def name(self) -> str:
        """Name of the logged value."""
        return f"dev/{self.metric}"


def _whole(trainer: lightning.Trainer) -> bool:
    """Return whether each process holds all parameters, so that it can tell the norm of the gradient."""
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


def active_terms(output: StudentOutput, student: Student) -> dict[str, Tensor]:
    """Return how many words of the vocabulary weigh more than 0, on average over the texts of a batch.

    Empty for students that do not weigh words. What sparsity costs and saves: a search takes time in proportion to
    the product of both.
    """
    if "term_weights" not in student.fields:
        return {}
    assert isinstance(output.queries, Tensor), "term weights are one row a text"
    assert isinstance(output.documents, Tensor), "term weights are one row a text"
    sides = {"active_query_terms": output.queries, "active_document_terms": output.documents}
    return {name: (side.detach() > 0).sum(-1).float().mean() for name, side in sides.items()}


class Distillation(lightning.LightningModule):
    """Trains a student to an objective.

    Parameters
    ----------
    student
        Any student.
    objective
        The weighted terms.
    optim
        Makes optimiser and schedule.
    steps
        Updates of the whole training.
    seed
        Seed of the dropout.
    validation
        What to measure on the dev split; None measures nothing.
    chunk
        Texts that the student encodes at once; None encodes all of a batch.
    """

    def __init__(
        self,
        student: Student,
        objective: Objective,
        optim: AdamW,
        steps: int,
        seed: int,
        validation: Validation | None = None,
        *,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self._optim = optim
        self._steps = steps
        self._seed = seed
        self._validation = validation
        self._chunk = chunk
        self._dev_run: Run = {}
        self._measured: dict[str, Tensor] = {}
        self.train()  # dropout on: a checkpoint comes without, and Lightning leaves it as it finds it

    def __deepcopy__(self, memo: dict[int, Any]) -> "Distillation":
        """Copy what is trained, for averages of weights; data and tokenizers to validate with are shared."""
        memo[id(self._validation)] = self._validation
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update({name: deepcopy(each, memo) for name, each in self.__getstate__().items()})
        return copied

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule."""
        return self._optim.configure(self, self._steps, fused=self.trainer.precision != "16-mixed")

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm; Lightning refuses to under mixed precision with a fused optimiser, even where none scales.

        Before that the norm is logged, and the learning rate that the update will have.
        """
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0 and _whole(self.trainer):  # pyright: ignore[reportAttributeAccessIssue]
            gradients = [each.grad for each in self.parameters() if each.grad is not None]
            self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients), batch_size=1)
            self.log("train/learning_rate", optimizer.param_groups[0]["lr"], batch_size=1)
        if gradient_clip_val and self.trainer.precision == "bf16-mixed" and _whole(self.trainer):
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by (seed, batch, process): it depends on no history, so a resumed run draws the same."""
        del batch
        key = f"{self._seed}/{batch_idx}/{self.global_rank}".encode()
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "little"))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return the loss of a batch, and for the guards the value of each term and signs of a collapse; log them."""
        self.objective.at(self.global_step)
        with chunks_of(self._chunk):
            output = self.student(batch)
        seen: dict[str, Tensor] = {}
        watched = (self.global_step + 1) % self.trainer.log_every_n_steps == 0  # pyright: ignore[reportAttributeAccessIssue]
        if watched:
            active = active_terms(output, self.student)
            for name, value in active.items():
                self.log(f"train/{name}", value, batch_size=len(batch))
            seen = active | signs(output, batch, self.student)
        total, values = self.objective(output, batch)
        if watched:
            self._watch(total, output, batch, last=(batch_idx + 1) % self.trainer.accumulate_grad_batches == 0)
        size = len(batch)
        for name, value in values.items():
            self.log(f"train/{name}", value, prog_bar=True, batch_size=size)
        self.log("train/loss", total.detach(), batch_size=size)
        terms = {name: values[name] for name in self.objective.terms}
        return {"loss": poisoned(total), "terms": terms, "signs": seen}

    def _watch(self, total: Tensor, output: StudentOutput, batch: Batch, *, last: bool) -> None:
        """Measure what the objective does to positives and negatives, and log it with the last batch of an update.

        The gradient of the scores is taken from the objective itself: what reaches them in the backward pass is scaled
        for mixed precision and divided by the batches of an update. Of smaller sizes of the embeddings, which share the
        objective, nothing is measured.
        """
        if not total.requires_grad or not output.scores.requires_grad:
            return
        with torch.autocast(total.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(total, output.scores, retain_graph=True, allow_unused=True)
        if gradient is None:  # no term reads the scores
            return
        share = 1 + len(output.smaller)
        found = sums(
            output.scores.detach(),
            gradient * share,
            batch.teacher_scores,
            batch.labels,
            batch.mask,
            terms=self.objective.per_candidate(output, batch),
        )
        self._measured = {name: value + self._measured.get(name, 0) for name, value in found.items()}
        if last:
            self._log_measured()

    def _log_measured(self) -> None:
        """Log the diagnostics of the batches of an update, of all processes."""
        found = averaged(totals_over_processes(self._measured))
        found.pop("kl_to_teacher", None)  # the objective logs it
        self._measured = {}
        for name, value in found.items():
            ranks = enumerate(value.unbind(), 1) if value.ndim else [("", value)]
            for rank, each in ranks:
                self.log(f"diagnostics/{name}/{rank}".rstrip("/"), each, batch_size=1)

    def validation_step(self, candidates: Run, batch_idx: int) -> None:
        """Re-rank the dev candidates."""
        del batch_idx
        assert self._validation is not None
        self._dev_run = rerank(self.student, self._validation.collator, candidates)  # pyright: ignore[reportArgumentType]

    def on_validation_epoch_end(self) -> None:
        """Measure the run of all processes; each of them sees the same value."""
        validation = self._validation
        assert validation is not None
        parts: list[Run | None] = [self._dev_run] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, self._dev_run)
        run = {query: ranking for part in parts if part for query, ranking in part.items()}
        value = means(evaluate(validation.qrels, run, [validation.metric]))[validation.metric]
        self.log(validation.name, value, prog_bar=True, batch_size=1, rank_zero_only=False)
