"""Guards of a training: what is not finite, and students that have collapsed."""

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
"""Spread of a list's scores, in parts of the largest, up to which all are equal: rounding makes a tenth of it."""
_SAME = 0.999
"""Mean cosine of two embeddings of a batch from which on they are one."""


@dataclass(frozen=True)
class _Batch:
    step: int
    query_ids: Sequence[str]
    names: tuple[str, ...]
    values: Tensor
    """Of the terms, in the order of their names, and of their sum; on the device."""


@dataclass(frozen=True)
class _Update:
    step: int
    names: Sequence[str]
    norms: Tensor
    """Of the gradients of the parameters, in the order of their names; on the device."""


class Nonfinite(Callback):
    """Stops a training at a loss or gradient that is not finite, or leaves such updates out and counts them.

    Whether an update is finite is decided and obeyed on the device: the optimiser reads it from ``found_inf``, the
    mechanism of scaled gradients, and leaves weights and state as they are. The numbers are read, at once, every
    ``every`` updates and before each checkpoint; so no step waits for the device, a checkpoint never holds what came
    of such an update, and a training stops at most ``every`` updates late. A step costs one more pass over the
    gradient. Where a loss is not finite its gradient is not either (``poisoned``), so processes agree.

    With the scaled gradients of ``16-mixed`` those that overflow are the scaler's; only losses are looked at.

    Parameters
    ----------
    policy
        ``stop`` or ``skip``.
    every
        Updates between two looks.
    """

    def __init__(self, policy: str, every: int) -> None:
        self.skipped = 0
        """Updates left out so far, those before a checkpoint was loaded too."""
        self._policy = policy
        self._every = every
        self._batches: list[_Batch] = []
        self._updates: list[_Update] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradient before it is clipped, and tell the optimiser."""
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
        """Keep what the terms were; look every so many updates."""
        step, left = divmod(batch_idx + 1, trainer.accumulate_grad_batches)
        terms = outputs["terms"]
        values = torch.stack([*terms.values(), outputs["loss"]])
        self._batches.append(_Batch(step + bool(left), batch.query_ids, tuple(terms), values))
        if not left and step % self._every == 0:
            self._look()

    def state_dict(self) -> dict[str, Any]:
        """Look, and return the count: what follows a step that is not finite is never saved."""
        self._look()
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
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
                f"trainer.nonfinite: {messages[0]}. The checkpoints are from before it. Lower optim.lr, look at the "
                "data of these queries, or leave such updates out and count them: trainer.nonfinite=skip"
            )
        self.skipped += len(faults)
        for each in messages:
            log.warning("%s; this update is left out", each)


def _faults(batches: Iterable[_Batch], updates: Iterable[_Update]) -> dict[int, str]:
    """Say of each step what of it is not finite; the one place where numbers are read from the device."""
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
    """Return what all processes have found; one that has found a term at fault comes before those it has reached."""
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, faults)
    merged: dict[int, str] = {}
    for part in parts:
        for step, fault in part.items():
            if step not in merged or fault.startswith("loss."):
                merged[step] = fault
    return merged


def poisoned(loss: Tensor) -> Tensor:
    """Return a loss whose gradient is not finite where it is not: an infinite one may have a gradient of 0.

    Bits of finite losses and of their gradients stay as they are.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, float("nan"))


@torch.no_grad()
def signs(output: StudentOutput, batch: Batch, student: Student) -> dict[str, Tensor]:
    """Measure the signs of a collapsed student; nothing here waits for the device.

    Returns
    -------
    dict[str, Tensor]
        ``spread``: the largest, over the queries with several candidates, of (max − min) / max(1, max |s|) of their
        scores; nothing where there is no such query. ``cosine``, of students with embeddings: the mean cosine of two
        of the batch's document vectors (of two tokens' vectors for several vectors a text).
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
    """Warns, once each, of a student that has collapsed; looks at steps that are logged and at no others."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the signs, if there are any."""
        for name, advice in _collapsed(outputs.get("signs", {})).items():
            if name not in self._told:
                self._told.add(name)
                log.warning("%s at step %d: %s", name, batch_idx // trainer.accumulate_grad_batches + 1, advice)


def _collapsed(seen: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of what has collapsed, each with what to do."""
    values = {name: float(value) for name, value in seen.items()}
    found: dict[str, str] = {}
    if float("-inf") < values.get("spread", 1.0) <= _EQUAL:
        found["collapsed scores"] = (
            "all candidates of a query have the same score, for every query; lower optim.lr, raise its warmup, or look "
            "at the teacher (limbeck inspect)"
        )
    dead = [side for side in ("document", "query") if values.get(f"active_{side}_terms") == 0]
    if dead:
        found["dead SPLADE"] = (
            f"no word has a weight above 0 for any {' or '.join(dead)}; lower the weight of flops or l1, let it rise "
            "by a schedule, or lower optim.lr"
        )
    if values.get("cosine", 0.0) > _SAME:
        found["constant embeddings"] = (
            f"the mean cosine of two documents is {values['cosine']:.4f}; lower optim.lr, raise its warmup, or use "
            "more negatives"
        )
    return found
