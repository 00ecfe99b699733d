"""What memory a training will take, before it begins: weights, optimiser, and what a batch keeps for its gradient."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from limbeck import room
from limbeck.amounts import bytes_of
from limbeck.data.sampling import ListSampler
from limbeck.students.base import Student


class Needs(NamedTuple):
    """Bytes that a process of a training takes."""

    weights: int
    """Parameters, their gradients, and AdamW's two moments."""
    batch: int
    """What the layers keep of a batch whose texts are all as long as they may be."""

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.batch


def needs(student: Student, sampler: ListSampler, *, precision: str, chunk: int | None) -> Needs:
    r"""Estimate what a training takes.

    Of a trained weight 16 bytes (itself, its gradient, two moments), of a fixed one 4, and under 16-bit precision 2
    more for its copy. Of a token and layer of width D and inner width F

    ```math
    e\,(8 D + 2 F) + x\,D + 2 D
    ```

    bytes, with e = 4 and x = 4 in float32, e = 2 and x = 14 under 16 bits (normalisation stays in float32), and the two
    masks of dropout. With gradient checkpointing a layer keeps its input alone, and one layer at a time the rest. Left
    out are the attention weights, which the kernels of GPUs do not keep, and what lies on top of the layers.

    Parameters
    ----------
    student
        As it is trained.
    sampler
        Queries of a batch and the documents of a list.
    precision
        Lightning's.
    chunk
        ``trainer.chunk``: texts that are encoded at once.
    """
    half = not precision.endswith("-true")
    trained = sum(each.numel() for each in student.parameters() if each.requires_grad)
    fixed = sum(each.numel() for each in student.parameters() if not each.requires_grad)
    weights = trained * (18 if half else 16) + fixed * (6 if half else 4)
    backbone: Any = getattr(student, "backbone", None)
    config: Any = getattr(backbone, "config", None)
    width, inner = getattr(config, "hidden_size", 0), getattr(config, "intermediate_size", 0)
    layers = getattr(config, "num_hidden_layers", 0)
    size = 2 if half else 4
    kept = size * (8 * width + 2 * inner) + (14 if half else 4) * width + 2 * width
    each = layers * kept
    if backbone is not None and any(getattr(module, "gradient_checkpointing", False) for module in backbone.modules()):
        each = layers * size * width + kept
    return Needs(weights, _tokens(student, sampler, chunk) * each)


def _tokens(student: Student, sampler: ListSampler, chunk: int | None) -> int:
    """Return the tokens of a batch, or of a chunk of it, if every text is as long as it may be."""
    style, queries = student.style, sampler.batch_size
    documents = queries * (sampler.positives + sampler.negatives)
    if style.paired:
        return documents * (style.query_length + style.document_length)
    if chunk is not None:
        return max(min(chunk, documents) * style.document_length, min(chunk, queries) * style.query_length)
    return documents * style.document_length + queries * style.query_length


def free(device: torch.device) -> int | None:
    """Return the bytes that are free on a device; None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return room.free_memory() if device.type == "cpu" else None


def line(found: Needs, there: int | None, sizes: Mapping[str, object]) -> tuple[str, bool]:
    """Say what a training takes, and whether it may be too much.

    Parameters
    ----------
    found, there
        What it takes, and what is free.
    sizes
        Keys that memory grows with, and what they are now.

    Returns
    -------
    tuple
        The line, and whether it is a warning.
    """
    takes = f"memory: about {bytes_of(found.weights)} for weights and optimiser" + (
        f", {bytes_of(found.batch)} for a batch of the longest texts" if found.batch else ""
    )
    if there is None:
        return takes, False
    if found.total <= there:
        return f"{takes}; {bytes_of(there)} are free", False
    lower = ", ".join(f"{key} (now {value})" for key, value in sizes.items())
    return f"{takes}, but {bytes_of(there)} are free: it may not fit. Lower one of: {lower}", True
