"""The objective: a weighted sum of named losses."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from limbeck.config import ConfigError
from limbeck.losses.base import Loss
from limbeck.losses.finite import answering_nan
from limbeck.losses.kl import kl
from limbeck.types import Batch, StudentOutput

_REMEDY = {
    "teacher_scores": "choose a teacher (teacher=synthetic, teacher=minilm, …)",
    "teacher_order": "choose a teacher (teacher=synthetic, teacher=minilm, …)",
    "ranks": "choose candidates with ranks (candidates=bm25)",
    "embeddings": "choose a student that encodes queries and documents separately (student=dense)",
    "vectors": "choose a student with one vector per text (student=dense)",
    "teacher_vectors": "choose a dense encoder as teacher (teacher=minilm, teacher=dense …)",
    "term_weights": "choose a student with term weights (student=splade)",
}


class Objective(nn.Module):
    """Σ weight · loss over a batch.

    Parameters
    ----------
    terms
        Name → loss, by the names under ``loss`` in the configuration.
    order_only
        The teacher's scores are ranks, so ``kl_to_teacher`` is not logged.

    Raises
    ------
    ConfigError
        There is no loss.
    """

    def __init__(self, terms: Mapping[str, Loss], *, order_only: bool = False) -> None:
        super().__init__()
        self.order_only = order_only
        if not terms:
            raise ConfigError("loss is empty; choose at least one, for example loss=ckl or loss=[ckl,info_nce]")
        self.terms = nn.ModuleDict(dict(terms))

    def check(self, available: set[str]) -> None:
        """Raise ``ConfigError`` if a loss needs a field that is not among the available ones."""
        for name, loss in self.terms.items():
            for field in cast(Loss, loss).needs:
                if field not in available:
                    remedy = _REMEDY.get(field, "see the documentation of the loss")
                    if field == "teacher_scores" and "teacher_order" in available:
                        remedy = (
                            "the teacher gives only ranks: use its scores (teacher.use=scores) or a loss that reads "
                            "only the teacher's order (ranknet, rank_mse, adr_mse, cl_drd)"
                        )
                    raise ConfigError(f"loss.{name} needs {field}, which this training does not have; {remedy}")

    def reads(self, field: str) -> bool:
        """Return whether a loss needs this field of the batch or of the student's output."""
        return any(field in cast(Loss, loss).needs for loss in self.terms.values())

    @property
    def over_batches(self) -> bool:
        """Whether a loss reads the whole batch: the documents of other queries, or all embeddings."""
        return any({"embeddings", "term_weights"} & set(cast(Loss, loss).needs) for loss in self.terms.values())

    def check_chunks(self) -> None:
        """Raise ``ConfigError`` if no loss reads the whole batch, since gradient caching then gains nothing."""
        if not self.over_batches:
            raise ConfigError(
                "trainer.chunk is for losses over the whole batch (loss.info_nce.in_batch=true, flops, l1), as it "
                f"encodes each text twice; {', '.join(self.terms)} reads one query at a time: lower "
                "sampler.batch_size and raise trainer.accumulate instead"
            )

    def at(self, step: int) -> None:
        """Set scheduled options to their values after ``step`` updates."""
        for loss in self.terms.values():
            cast(Loss, loss).at(step)

    def forward(self, output: StudentOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and the unweighted values by name, averaged over the sizes of a Matryoshka student.

        All losses are computed in float32 or better, without autocast: 16-bit products would change losses and
        gradients. NaN and infinity in a query's inputs make its values NaN; the guards check them.

        With teacher scores, ``kl_to_teacher`` (temperature 1, no gradient) is added to the values for any objective.
        """
        with torch.autocast(output.scores.device.type, enabled=False), answering_nan():
            return self._computed(output, batch)

    def per_candidate(self, output: StudentOutput, batch: Batch) -> Tensor | None:
        """Return the (B, L) weighted sum of the losses' terms per candidate; None if no loss has such terms."""
        with torch.no_grad(), torch.autocast(output.scores.device.type, enabled=False), answering_nan():
            losses = [cast(Loss, loss) for loss in self.terms.values()]
            found = [(loss.weight, loss.per_candidate(output, batch)) for loss in losses]
        present = [weight * terms for weight, terms in found if terms is not None]
        return torch.stack(present).sum(0) if present else None

    def _computed(self, output: StudentOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        total = output.scores.new_zeros(())
        values = {}
        sizes = [output, *output.smaller]
        for name, module in self.terms.items():
            loss = cast(Loss, module)
            value = torch.stack([loss(each, batch) for each in sizes]).mean()
            total = total + loss.weight * value
            values[name] = value.detach()
        if batch.teacher_scores is not None and not self.order_only:
            with torch.no_grad():
                distance = kl(output.scores, batch.teacher_scores, batch.labels, batch.mask)
            values["kl_to_teacher"] = distance.mean()
        return total, values
