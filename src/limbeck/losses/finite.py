"""How every loss treats NaN and infinity in its inputs: it raises an error, or returns NaN for the query.

NaN compares as False with every number, so a loss that reads only the order of scores would return a plausible but
wrong value; infinity leads to inf - inf. A loss therefore checks every input that it reads, except under padding. On a
GPU an error would require a synchronisation, so there are two cases:

- Called directly with tensors on a CPU, a loss raises a ``ValueError`` that names the input, the query and the
  candidate.
- On any other device, while ``torch.compile`` traces, inside ``torch.func.vmap`` and inside ``answering_nan`` (so in
  all training), the value of such a query is NaN. Training then stops, or skips the update, and names the query
  (``trainer.nonfinite``). The check ``not_finite`` looks for such teacher scores before training.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_refusing = ContextVar("refusing", default=True)


@contextmanager
def answering_nan() -> Iterator[None]:
    """Make losses return NaN instead of raising an error; for training loops, which check the values themselves."""
    token = _refusing.set(False)
    try:
        yield
    finally:
        _refusing.reset(token)


def sound(mask: Tensor, **inputs: Tensor) -> Tensor:
    """Return a factor for the value of each query: 1, or NaN if its inputs hold NaN, infinity or a rank below 1.

    Parameters
    ----------
    mask
        (B, L) bool, False for padding, which may hold any number.
    inputs
        Name → (B, L) tensor that the loss reads.

    Returns
    -------
    Tensor
        (B,) float32. Multiplying by 1 changes no bit of a value or a gradient.

    Raises
    ------
    ValueError
        Instead of NaN, where the module's docstring says that it is an error.

    Examples
    --------
    >>> mask, teacher = torch.tensor([[True, True, False]]), torch.tensor([[0.5, 1.0, torch.nan]])
    >>> sound(mask, teacher=teacher)
    tensor([1.])
    """
    for name, values in inputs.items():
        refuse(name, values, mask, ("query", "candidate"), "set mask=False for candidates without a value")
    spoiled = torch.stack([(mask & _wrong(name, values)).any(-1) for name, values in inputs.items()]).any(0)
    return torch.where(spoiled, torch.nan, 1.0)


def refuse(name: str, values: Tensor, mask: Tensor | None, axes: tuple[str, str], remedy: str) -> None:
    """Raise ``ValueError`` for NaN and infinity, where the module's docstring says that they are errors.

    Parameters
    ----------
    name
        Name of the input, for the message.
    values
        (N, M).
    mask
        (N, M) bool, True for the entries to check; None checks all.
    axes
        Names of a row and of a column in the message, such as query and candidate.
    remedy
        The end of the message.
    """
    if torch.compiler.is_compiling() or values.device.type != "cpu" or not _refusing.get():
        return
    wrong = _wrong(name, values) if mask is None else mask & _wrong(name, values)
    try:
        found = bool(wrong.any())
    except RuntimeError:  # inside torch.func.vmap a tensor has no single truth value
        return
    if found:
        *row, column = wrong.nonzero()[0].tolist()
        rows = f"{axes[0]} {', '.join(map(str, row))}, " if row else ""
        raise ValueError(
            f"{name} must be finite numbers{' >= 1' if name == 'ranks' else ''}, got {values[*row, column].item()} for "
            f"{rows}{axes[1]} {column} (counted from 0; {int(wrong.sum())} such in all); {remedy}"
        )


def _wrong(name: str, values: Tensor) -> Tensor:
    values = values.detach()
    return ~values.isfinite() | (values < 1) if name == "ranks" else ~values.isfinite()
