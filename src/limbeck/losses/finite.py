"""What every loss does with a number that is not finite: it refuses it by name, or its value is NaN.

A NaN among a teacher's scores compares as False with everything, so a loss that looks at order alone would give a
plausible value that is wrong; an infinite one gives inf - inf. Both are looked for in all that a loss reads, outside of
padding. A GPU would have to be waited for to know whether there are any, so there are two answers:

- Called directly with tensors on a CPU, a loss raises a ``ValueError`` that names the input, the query and the
  candidate.
- On any other device, while ``torch.compile`` traces, inside ``torch.func.vmap`` and inside ``answering_nan`` (so
  in every training), the value of such a query is NaN. A training then stops, or leaves the update out, and names the
  query (``trainer.nonfinite``); the check ``not_finite`` has looked at the teacher's scores before it began.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_refusing = ContextVar("refusing", default=True)


@contextmanager
def answering_nan() -> Iterator[None]:
    """Let losses answer NaN where they would refuse: for trainings, which look at the values themselves."""
    token = _refusing.set(False)
    try:
        yield
    finally:
        _refusing.reset(token)


def sound(mask: Tensor, **inputs: Tensor) -> Tensor:
    """Return a factor for the values of the queries: 1, or NaN for a query that reads a number that is not finite.

    A rank below 1 is such a number too.

    Parameters
    ----------
    mask
        (B, L) bool, False for padding, where anything may be.
    inputs
        Name → (B, L) tensor that the loss reads.

    Returns
    -------
    Tensor
        (B,) float32. A product with 1 changes no bit, neither of a value nor of a gradient.

    Raises
    ------
    ValueError
        A number is not finite, where the module's docstring says that this is an error.

    Examples
    --------
    >>> mask, teacher = torch.tensor([[True, True, False]]), torch.tensor([[0.5, 1.0, torch.nan]])
    >>> sound(mask, teacher=teacher)
    tensor([1.])
    """
    for name, values in inputs.items():
        refuse(name, values, mask, ("query", "candidate"), "leave a candidate without one out by mask=False")
    spoiled = torch.stack([(mask & _wrong(name, values)).any(-1) for name, values in inputs.items()]).any(0)
    return torch.where(spoiled, torch.nan, 1.0)


def refuse(name: str, values: Tensor, mask: Tensor | None, axes: tuple[str, str], remedy: str) -> None:
    """Raise ``ValueError`` for numbers that are not finite, where the module's docstring says that this is an error.

    Parameters
    ----------
    name
        Of the input.
    values, mask
        (N, M); None looks at all.
    axes
        What a row is, and what a column is.
    remedy
        The end of the message.
    """
    if torch.compiler.is_compiling() or values.device.type != "cpu" or not _refusing.get():
        return
    wrong = _wrong(name, values) if mask is None else mask & _wrong(name, values)
    try:
        found = bool(wrong.any())
    except RuntimeError:  # inside torch.func.vmap there is no number to look at
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
