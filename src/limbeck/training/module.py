"""The LightningModule that trains students of every kind."""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from limbeck.backbones.chunks import chunks_of
from limbeck.evaluation.metrics import evaluate, means
from limbeck.evaluation.ranking import rerank, search
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
    """How the student is evaluated on the dev split during training."""

    qrels: Qrels
    collator: Collator
    metric: str
    documents: Sequence[str] | None = None
    """Documents to search for each dev query; None re-ranks the candidates of each query."""
    depth: int = 100
    """Documents that a search returns."""

    @property
    def name(self) -> str:
        """Name of the logged metric."""
        return f"dev/{self.metric}"


def _whole(trainer: lightning.Trainer) -> bool:
    """Return whether each process holds all parameters, so that it can compute the gradient's norm."""
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


def active_terms(output: StudentOutput, student: Student) -> dict[str, Tensor]:
    """Return the mean number of terms with a weight above 0, of the queries and of the documents of a batch.

    Empty for students without term weights. The time of a search grows with the product of both numbers.
    """
    if "term_weights" not in student.fields:
        return {}
    assert isinstance(output.queries, Tensor), "term weights are one row a text"
    assert isinstance(output.documents, Tensor), "term weights are one row a text"
    sides = {"active_query_terms": output.queries, "active_document_terms": output.documents}
    return {name: (side.detach() > 0).sum(-1).float().mean() for name, side in sides.items()}


class Distillation(lightning.LightningModule):
    """Trains a student with an objective.

    Parameters
    ----------
    student
        Any student.
    objective
        The weighted sum of losses.
    optim
        Creates the optimiser and its schedule.
    steps
        Updates of the whole training.
    seed
        Seed of dropout.
    validation
        How to evaluate on the dev split; None does not validate.
    chunk
        Texts that the student encodes at once; None encodes a whole batch at once.
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
        self.train()  # loaded students are in eval mode, and Lightning does not change the mode

    def __deepcopy__(self, memo: dict[int, Any]) -> "Distillation":
        """Copy everything but the validation's data and tokenizers, for weight averaging."""
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
        """Log the gradient norm and the learning rate of the update, then clip the norm.

        With ``bf16-mixed`` this clips itself: Lightning refuses to clip for a fused optimiser in mixed precision, even
        if gradients are not scaled.
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
        """Seed dropout by (seed, batch, process), so that a resumed run draws the same masks."""
        del batch
        key = f"{self._seed}/{batch_idx}/{self.global_rank}".encode()
        # torch.manual_seed seeds all devices, and records a stack trace for those not in use: 0.2 ms.
        sow = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        sow(int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "little"))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Log and return the loss of a batch; also return, for the guards, each term's value and signs of collapse."""
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
        """Compute the diagnostics of a batch, and log them with the last batch of an update.

        The gradient of the scores is computed from the objective, since in the backward pass it is scaled for mixed
        precision and divided by the number of accumulated batches. The diagnostics are of the full size of a Matryoshka
        student only.
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
        """Log the diagnostics over all batches of an update and all processes."""
        found = averaged(totals_over_processes(self._measured))
        found.pop("kl_to_teacher", None)  # the objective logs it
        self._measured = {}
        for name, value in found.items():
            ranks = enumerate(value.unbind(), 1) if value.ndim else [("", value)]
            for rank, each in ranks:
                self.log(f"diagnostics/{name}/{rank}".rstrip("/"), each, batch_size=1)

    def validation_step(self, candidates: Run, batch_idx: int) -> None:
        """Re-rank the candidates of the dev queries, or search the documents of the validation for them."""
        del batch_idx
        validation, ranker = self._validation, self.student
        assert validation is not None
        if validation.documents is None:
            self._dev_run = rerank(ranker, validation.collator, candidates)  # pyright: ignore[reportArgumentType]
        else:
            found = search(ranker, validation.collator, list(candidates), validation.documents, validation.depth)  # pyright: ignore[reportArgumentType]
            self._dev_run = dict(found)

    def on_validation_epoch_end(self) -> None:
        """Evaluate the run gathered from all processes; each process logs the same value."""
        validation = self._validation
        assert validation is not None
        parts: list[Run | None] = [self._dev_run] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, self._dev_run)
        run = {query: ranking for part in parts if part for query, ranking in part.items()}
        value = means(evaluate(validation.qrels, run, [validation.metric]))[validation.metric]
        self.log(validation.name, value, prog_bar=True, batch_size=1, rank_zero_only=False)
