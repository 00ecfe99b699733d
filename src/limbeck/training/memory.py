"""Estimate of the memory of a training before it starts: weights, optimiser state and activations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from limbeck import room
from limbeck.amounts import bytes_of
from limbeck.data.sampling import ListSampler
from limbeck.students.base import Student


class Needs(NamedTuple):
    """Memory of one training process, in bytes."""

    weights: int
    """Parameters, their gradients, and AdamW's two moments."""
    batch: int
    """Activations of a batch of texts of maximum length."""

    @property
    def total(self) -> int:
        """Sum of weights and batch."""
        return self.weights + self.batch


def needs(student: Student, sampler: ListSampler, *, precision: str, chunk: int | None) -> Needs:
    r"""Estimate the memory of a training process.

    A trained weight takes 16 bytes (weight, gradient, two moments), a frozen weight 4; in 16-bit precision each takes 2
    more, for its copy. Each token takes, in each layer of width D and inner width F,

    ```math
    e\,(8 D + 2 F) + x\,D + 2 D
    ```

    bytes, with e = 4 and x = 4 in float32, and e = 2 and x = 14 in 16 bits (normalisation is in float32); 2 D is for
    two dropout masks. With gradient checkpointing, layers save only their input, and one layer at a time the rest. The
    estimate leaves out attention weights, which GPU kernels do not store, and everything above the layers.

    Parameters
    ----------
    student
        The student.
    sampler
        Gives the queries per batch and the documents per list.
    precision
        Lightning's precision.
    chunk
        ``trainer.chunk``: texts that are encoded at once; None encodes all.
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
    """Return the number of tokens of a batch, or of a chunk, if every text has the maximum length."""
    style, queries = student.style, sampler.batch_size
    documents = queries * (sampler.positives + sampler.negatives)
    if style.paired:
        return documents * (style.query_length + style.document_length)
    if chunk is not None:
        return max(min(chunk, documents) * style.document_length, min(chunk, queries) * style.query_length)
    return documents * style.document_length + queries * style.query_length


def free(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes; None if it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return room.free_memory() if device.type == "cpu" else None


def line(found: Needs, there: int | None, sizes: Mapping[str, object]) -> tuple[str, bool]:
    """Return the log line about memory, and whether it is a warning.

    Parameters
    ----------
    found
        The estimate.
    there
        Free memory in bytes; None if it is not known.
    sizes
        Configuration keys that memory grows with → current value.

    Returns
    -------
    tuple
        The line, and True if the memory may not suffice.
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
