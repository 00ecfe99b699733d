"""Guards during training: losses and gradients that are NaN or infinite, and collapsed students."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from limbeck.config import ConfigError
from limbeck.students.base import Student
from limbeck.types import Batch, StudentOutput, Vectors

log = logging.getLogger(__name__)

POLICIES = ("stop", "skip")

_SHOWN = 16
_EQUAL = 1e-5
"""Relative spread of a list's scores up to which they count as equal; rounding alone causes about a tenth of it."""
_SAME = 0.999
"""Mean cosine of two embeddings of a batch above which the embeddings count as constant."""


@dataclass(frozen=True)
class _Batch:
    step: int
    query_ids: Sequence[str]
    names: tuple[str, ...]
    values: Tensor
    """Values of the terms, in the order of ``names``, then of their weighted sum; on the device."""


@dataclass(frozen=True)
class _Update:
    step: int
    names: Sequence[str]
    norms: Tensor
    """Gradient norms of the parameters, in the order of ``names``; on the device."""


class Nonfinite(Callback):
    """Stops training if a loss or gradient is NaN or infinite, or skips and counts such updates.

    The check runs on the device: the optimiser reads the result from ``found_inf``, as for scaled gradients, and then
    leaves weights and optimiser state unchanged. The values are read every ``every`` updates and before each
    checkpoint. So no step synchronises with the device, no checkpoint contains such an update, and training stops at
    most ``every`` updates late. A step costs one more pass over the gradient. If a loss is not finite, neither is its
    gradient (``poisoned``), so all processes agree.

    With ``16-mixed``, the gradient scaler handles gradients that overflow; the guard checks only losses.

    Parameters
    ----------
    policy
        ``stop`` or ``skip``.
    every
        Updates between two checks.
    """

    def __init__(self, policy: str, every: int) -> None:
        self.skipped = 0
        """Updates skipped so far, including those before training was resumed."""
        self._policy = policy
        self._every = every
        self._batches: list[_Batch] = []
        self._updates: list[_Update] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradient before it is clipped, and set the optimiser's ``found_inf``."""
        if trainer.precision == "16-mixed":
            return
        named = [(name, each.grad) for name, each in pl_module.named_parameters() if each.grad is not None]
        norms = torch.stack(torch._foreach_norm([gradient for _, gradient in named]))
        self._updates.append(_Update(trainer.global_step + 1, [name for name, _ in named], norms))
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = (~norms.isfinite().all()).to(torch.float32)  # pyright: ignore[reportAttributeAccessIssue]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Store the values of the terms; check them every ``every`` updates."""
        step, left = divmod(batch_idx + 1, trainer.accumulate_grad_batches)
        terms = outputs["terms"]
        values = torch.stack([*terms.values(), outputs["loss"]])
        self._batches.append(_Batch(step + bool(left), batch.query_ids, tuple(terms), values))
        if not left and step % self._every == 0:
            self._look()

    def state_dict(self) -> dict[str, Any]:
        """Check the values, so that no bad step is saved, and return the count."""
        self._look()
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count."""
        self.skipped = state_dict["skipped"]

    def _look(self) -> None:
        batches, updates = self._batches, self._updates
        self._batches, self._updates = [], []
        faults = _faults(batches, updates)
        if not faults:
            return
        if torch.distributed.is_initialized():
            faults = _gathered(faults)
        messages = [f"step {step}: {fault}" for step, fault in sorted(faults.items())]
        if self._policy == "stop":
            raise ConfigError(
                f"trainer.nonfinite: {messages[0]}. The checkpoints are from before it. Lower optim.lr, check the data "
                "of these queries, or skip such updates with trainer.nonfinite=skip"
            )
        self.skipped += len(faults)
        for each in messages:
            log.warning("%s; this update is skipped", each)


def _faults(batches: Iterable[_Batch], updates: Iterable[_Update]) -> dict[int, str]:
    """Return step → description of the values that are not finite; the only place that reads them from the device."""
    measured = [*(each.values for each in batches), *(each.norms for each in updates)]
    if not measured or bool(torch.cat([each.reshape(-1).float() for each in measured]).isfinite().all()):
        return {}
    faults: dict[int, str] = {}
    for batch in batches:
        bad = [f"loss.{name} is {value}" for name, value in _not_finite((*batch.names, ""), batch.values)]
        if bad:
            terms = ", ".join(bad[:-1] if len(bad) > 1 else ["the weighted sum of the terms is not finite"])
            faults.setdefault(batch.step, f"{terms} (queries {_listed(batch.query_ids)})")
    asked: dict[int, list[str]] = {}
    for batch in batches:
        asked.setdefault(batch.step, []).extend(batch.query_ids)
    for update in updates:
        bad = [name for name, _ in _not_finite(update.names, update.norms)]
        if bad:
            fault = f"the gradient of {_listed(bad, 3)} is not finite, though every term is"
            faults.setdefault(update.step, f"{fault} (queries {_listed(asked.get(update.step, []))})")
    return faults


def _not_finite(names: Sequence[str], values: Tensor) -> list[tuple[str, float]]:
    return [(name, value) for name, value in zip(names, values.tolist(), strict=True) if not abs(value) < float("inf")]


def _listed(names: Sequence[str], most: int = _SHOWN) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _gathered(faults: dict[int, str]) -> dict[int, str]:
    """Return the faults of all processes; for a step, a term that is not finite takes precedence over a gradient."""
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, faults)
    merged: dict[int, str] = {}
    for part in parts:
        for step, fault in part.items():
            if step not in merged or fault.startswith("loss."):
                merged[step] = fault
    return merged


def poisoned(loss: Tensor) -> Tensor:
    """Return the loss, with a NaN gradient if it is not finite: the gradient of an infinite loss may be 0.

    A finite loss and its gradient are unchanged, bit for bit.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, float("nan"))


@torch.no_grad()
def signs(output: StudentOutput, batch: Batch, student: Student) -> dict[str, Tensor]:
    """Measure signs of a collapsed student, without synchronising with the device.

    Returns
    -------
    dict[str, Tensor]
        ``spread``: (max − min) / max(1, max |s|) of a query's scores s, the maximum over queries with several
        candidates; -inf if there is no such query. ``cosine``, for students with embeddings: the mean cosine of two
        document vectors of the batch (of two token vectors for multi-vector students).
    """
    scores, mask = output.scores.float(), batch.mask
    highest = scores.masked_fill(~mask, float("-inf")).amax(-1)
    lowest = scores.masked_fill(~mask, float("inf")).amin(-1)
    spread = (highest - lowest) / torch.maximum(highest.abs(), lowest.abs()).clamp(min=1)
    found = {"spread": torch.where(mask.sum(-1) > 1, spread, float("-inf")).amax()}
    if "embeddings" in student.fields and output.documents is not None:
        found["cosine"] = _mean_cosine(output.documents)
    return found


def _mean_cosine(documents: Tensor | Vectors) -> Tensor:
    rows = documents.values.flatten(0, 1) if isinstance(documents, Vectors) else documents
    unit = F.normalize(rows.float(), dim=-1)
    count = documents.mask.sum() if isinstance(documents, Vectors) else rows.new_tensor(float(len(rows)))
    total = unit.sum(0).square().sum() - count
    return torch.where(count > 1, total / (count * (count - 1)).clamp(min=1), 0.0)


class Collapse(Callback):
    """Warns once about each sign of a collapsed student; checks only the steps that are logged."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the signs, if the step has measured them."""
        for name, advice in _collapsed(outputs.get("signs", {})).items():
            if name not in self._told:
                self._told.add(name)
                log.warning("%s at step %d: %s", name, batch_idx // trainer.accumulate_grad_batches + 1, advice)


def _collapsed(seen: Mapping[str, Tensor]) -> dict[str, str]:
    """Return sign of a collapse → description and remedy."""
    values = {name: float(value) for name, value in seen.items()}
    found: dict[str, str] = {}
    if float("-inf") < values.get("spread", 1.0) <= _EQUAL:
        found["collapsed scores"] = (
            "all candidates of a query have the same score, for every query; lower optim.lr, raise its warmup, or "
            "check the teacher (limbeck inspect)"
        )
    dead = [side for side in ("document", "query") if values.get(f"active_{side}_terms") == 0]
    if dead:
        found["dead SPLADE"] = (
            f"no term has a weight above 0 in any {' or '.join(dead)}; lower the weight of flops or l1, increase it "
            "by a schedule, or lower optim.lr"
        )
    if values.get("cosine", 0.0) > _SAME:
        found["constant embeddings"] = (
            f"the mean cosine of two documents is {values['cosine']:.4f}; lower optim.lr, raise its warmup, or use "
            "more negatives"
        )
    return found
