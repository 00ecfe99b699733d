"""The decorator of all losses on scores. It checks inputs and options, so that the function holds only the formula.

```python
@register("loss", "mine")
@on_scores
def mine(student: Tensor, teacher: Tensor, labels: Unread, mask: Tensor, *, sharpness: Positive = 1.0) -> Tensor:
    ...
```

The signature declares the inputs and options of the loss:

- Positional parameters are the inputs, all (B, L), with names among ``student``, ``teacher``, ``labels``, ``mask`` and
  ``ranks``. A loss needs the inputs that it has as parameters.
- ``Unread`` marks an input that the loss does not read; it exists so that all losses are called alike.
- ``Order`` marks teacher scores of which the loss reads only the order.
- ``Annotated[Tensor, Unless(option=value)]`` marks an input that the loss does not read if the option has that value.
- Keyword-only parameters are options; every call checks their annotations (``limbeck.losses.ranges``, ``Literal``).

Callers may leave out the mask if nothing is padded. The function's body receives ``student`` in float32 or better;
``teacher``, ``labels`` and ``ranks`` of the same type and detached; always a mask; None for inputs that it does not
read. Autocast is off. Padding may hold anything, also NaN. The body returns (B,) values, or (B, L) terms, 0 under
padding, whose sum over a list is the value; the diagnostics read the terms. NaN or infinity in an input raises an error
or makes the value of the query NaN (``limbeck.losses.finite``).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from types import MappingProxyType, UnionType
from typing import Annotated, Any, ParamSpec, Union, get_args, get_origin, get_type_hints, overload

import torch
from torch import Tensor

from limbeck.losses.finite import sound
from limbeck.losses.lists import at_least_float32
from limbeck.losses.ranges import OneOf, Range, rule

P = ParamSpec("P")

INPUTS = ("student", "teacher", "labels", "mask", "ranks")
_FIELDS = {"teacher": "teacher_scores", "ranks": "ranks"}


class Unless:
    """Mark an input that a loss does not read if any of the named options has the given value."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __repr__(self) -> str:
        return "unless " + " or ".join(f"{name}={value}" for name, value in self.options.items())


Unread = Annotated[Tensor | None, "unread"]
"""An input that is never read and may be None."""

Order = Annotated[Tensor, "order"]
"""Teacher scores of which only the order is read."""


@dataclass(frozen=True)
class Contract:
    """Inputs and options of a loss, from its signature."""

    name: str
    inputs: tuple[str, ...]
    """Names of the positional parameters."""
    marks: Mapping[str, tuple[Any, ...]]
    """Input → metadata of its ``Annotated`` type."""
    annotations: Mapping[str, Any]
    """Option → its annotation."""
    rules: Mapping[str, Range | OneOf]
    """Option → allowed values, for options whose annotation restricts them."""
    defaults: Mapping[str, Any]
    """Option → its default."""
    check: Callable[..., None]
    checked: tuple[str, ...]
    """Options that ``check`` takes."""
    shift_invariant: bool
    by_listing: Mapping[str, Any]

    def reads(self, options: Mapping[str, Any]) -> list[str]:
        """Return the inputs that the loss reads for these options; an option not in the mapping may have any value."""
        return [name for name in self.inputs if not self._unread(name, options)]

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the optional fields of a batch that the loss reads for these options."""
        read = [name for name in self.reads(options) if name in _FIELDS]
        return tuple("teacher_order" if "order" in self.marks[name] else _FIELDS[name] for name in read)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ``ValueError``, beginning with an option's name, if it is out of range or contradicts another."""
        for name, allowed in self.rules.items():
            allowed.check(name, options[name])
        self.check(**{name: options[name] for name in self.checked})

    def checked_inputs(self, given: Mapping[str, Any], read: list[str]) -> dict[str, Tensor]:
        """Return the inputs that the loss reads; the mask is all True if none is given.

        Raises
        ------
        ValueError
            An input is missing, not a tensor, or of a wrong shape; the message begins with its name.
        """
        whole = "student" if given.get("mask") is None else "mask"
        for name in read:
            if given.get(name) is None:
                if name == "mask":
                    continue
                unless = "".join(f" {mark}" for mark in self.marks[name] if isinstance(mark, Unless))
                raise ValueError(f"{name} must be given: {self.name} reads {name}{unless}")
            if not isinstance(given[name], Tensor):
                raise ValueError(f"{name} must be a tensor, got {type(given[name]).__name__}")
        mask = torch.ones_like(given["student"], dtype=torch.bool) if whole == "student" else given["mask"]
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be of type bool, True for candidates and False for padding, got {mask.dtype}")
        inputs = {**{name: given[name] for name in read if name != "mask"}, "mask": mask}
        for name, value in inputs.items():
            if value.shape != mask.shape or mask.dim() == 0:
                shapes = tuple(mask.shape), tuple(value.shape)
                raise ValueError(f"{name} must have the shape of the {whole}, {shapes[0]} for (B, L), got {shapes[1]}")
        return inputs

    def _unread(self, name: str, options: Mapping[str, Any]) -> bool:
        given = [mark.options for mark in self.marks[name] if isinstance(mark, Unless)]
        return "unread" in self.marks[name] or any(
            key in options and options[key] == value for each in given for key, value in each.items()
        )


def contract(function: Callable[..., Tensor]) -> Contract:
    """Return the contract of a loss on scores.

    Raises
    ------
    TypeError
        The function is not decorated with ``on_scores``.
    """
    found = getattr(function, "contract", None)
    if not isinstance(found, Contract):
        raise TypeError(f"{function.__qualname__} must be decorated with limbeck.losses.on_scores.on_scores")
    return found


def terms(function: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """Return the function that computes the (B, L) terms of a loss, or None if it has none; call it like the loss.

    Examples
    --------
    >>> from limbeck.losses import kl
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                      # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> terms(kl)(torch.zeros(1, 2), teacher, None, None)               # 3/4 ln 3/2, 1/4 ln 1/2
    tensor([[ 0.3041, -0.1733]])
    """
    return getattr(function, "terms")  # noqa: B009 - functions have no such attribute, for a type checker


@overload
def on_scores(function: Callable[P, Tensor]) -> Callable[P, Tensor]: ...


@overload
def on_scores(
    function: None = None,
    *,
    check: Callable[..., None] = ...,
    shift_invariant: bool = ...,
    by_listing: Mapping[str, Any] = ...,
) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]: ...


def on_scores(
    function: Callable[..., Tensor] | None = None,
    *,
    check: Callable[..., None] = lambda: None,
    shift_invariant: bool = True,
    by_listing: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Turn a function of (B, L) tensors into a loss that checks inputs and options and computes without autocast.

    Parameters
    ----------
    function
        The function; see the module's docstring.
    check
        Raises ``ValueError`` for options that contradict each other; it is called with the options that its parameters
        name.
    shift_invariant
        Whether adding a constant to all student scores changes nothing; ``limbeck.losses.laws`` tests it.
    by_listing
        Option → value for which the result depends on which of several positives is listed first.

    Raises
    ------
    ValueError
        When the loss is called: an input is missing or has a wrong shape, the mask is not bool, an option is out of
        range, an input holds NaN or infinity, or a rank is below 1. The message begins with the name.
    """
    if function is None:
        return partial(_wrapped, check=check, shift_invariant=shift_invariant, by_listing=by_listing)
    return _wrapped(function, check, shift_invariant, by_listing)


def _wrapped(
    function: Callable[..., Tensor], check: Callable[..., None], shift_invariant: bool, by_listing: Mapping[str, Any]
) -> Callable[..., Tensor]:
    what = _contract(function, check, shift_invariant, by_listing)
    signature = _with_optional_mask(inspect.signature(function))
    required = [name for name, each in signature.parameters.items() if each.default is each.empty]

    def computed(*tensors: Any, **named: Any) -> tuple[Tensor, Tensor]:
        """Return the body's result, and (B,) factors: 1, or NaN for a query with NaN or infinity in its inputs."""
        given = {**dict(zip(what.inputs, tensors, strict=False)), **named}
        unknown = [name for name in named if name not in what.defaults and name not in what.inputs[len(tensors) :]]
        if unknown or len(tensors) > len(what.inputs) or any(name not in given for name in required):
            try:
                signature.bind(*tensors, **named)
            except TypeError as error:  # Python's message about the arguments
                raise TypeError(f"{what.name}() {error}") from None
        options = {name: given.get(name, default) for name, default in what.defaults.items()}
        what.check_options(options)
        inputs = what.checked_inputs(given, what.reads(options))
        with torch.autocast(inputs["mask"].device.type, enabled=False):
            inputs = _prepared(inputs)
            values = function(**{name: inputs.get(name) for name in what.inputs}, **options)
            if not isinstance(values, Tensor) or values.shape not in (inputs["mask"].shape, inputs["mask"].shape[:-1]):
                raise TypeError(
                    f"{what.name} must return a tensor (B,), one number for each query, or (B, L), one term for each "
                    f"candidate, got {values}"
                )
            return values, sound(**inputs)

    @wraps(function)
    def loss(*tensors: Any, **named: Any) -> Tensor:
        values, factor = computed(*tensors, **named)
        return factor * (values if values.dim() == factor.dim() else values.sum(-1))

    def in_terms(*tensors: Any, **named: Any) -> Tensor | None:
        """Return the (B, L) terms whose sum over a list is the value; None if the loss has no terms."""
        values, factor = computed(*tensors, **named)
        return None if values.dim() == factor.dim() else factor.unsqueeze(-1) * values

    setattr(loss, "contract", what)  # noqa: B010 - functions have no such attribute, for a type checker
    setattr(loss, "__signature__", signature)  # noqa: B010
    setattr(loss, "terms", in_terms)  # noqa: B010
    return loss


def _with_optional_mask(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature with None as default of the mask and of the positional parameters after it."""
    every = list(signature.parameters.values())
    behind = [each.name for each in every].index("mask")
    optional = [each.replace(default=None) if each.kind is each.POSITIONAL_OR_KEYWORD else each for each in every]
    return signature.replace(parameters=[*every[:behind], *optional[behind:]])


def _prepared(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert all inputs but the mask to the student's type, and detach all but the student."""
    student = at_least_float32(inputs["student"])
    others = [name for name in inputs if name not in ("student", "mask")]
    return {
        "student": student,
        "mask": inputs["mask"],
        **{name: inputs[name].detach().to(student.dtype) for name in others},
    }


def _contract(
    function: Callable[..., Tensor], check: Callable[..., None], shift_invariant: bool, by_listing: Mapping[str, Any]
) -> Contract:
    parameters = inspect.signature(function).parameters.values()
    inputs = tuple(each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD)
    options = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    if not {"student", "mask"} <= {*inputs} <= {*INPUTS} or len(inputs) + len(options) < len(parameters):
        raise TypeError(
            f"{function.__qualname__} is no loss on scores: its positional parameters must be of {', '.join(INPUTS)}, "
            f"student and mask among them, and its options keyword-only; got {inspect.signature(function)}"
        )
    hints = get_type_hints(function, include_extras=True)
    return Contract(
        name=function.__name__,
        inputs=inputs,
        marks={name: getattr(_required(hints.get(name)), "__metadata__", ()) for name in inputs},
        annotations={name: hints.get(name) for name in options},
        rules={name: allowed for name in options if (allowed := rule(hints.get(name))) is not None},
        defaults=options,
        check=check,
        checked=tuple(inspect.signature(check).parameters),
        shift_invariant=shift_invariant,
        by_listing=by_listing,
    )


def _required(annotation: Any) -> Any:
    """Return ``X`` for ``X | None``, else the annotation itself."""
    members = [each for each in get_args(annotation) if each is not type(None)]
    return members[0] if isinstance(annotation, UnionType) or get_origin(annotation) is Union else annotation
