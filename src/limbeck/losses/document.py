"""Write the reference page of the losses: ``python -m limbeck.losses.document > docs/reference/losses.md``."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from limbeck.config import Entry, build, entries
from limbeck.docstrings import fields, sections
from limbeck.losses.weighted_kl import weighted_kl

HEAD = """\
# The losses

Written by `python -m limbeck.losses.document > docs/reference/losses.md` from the docstrings; do not edit.

Choose a loss with `loss=NAME`, several with `loss=[ckl,info_nce,flops] loss.info_nce.weight=0.1`. A loss on scores is
a pure function of (B, L) tensors, for B queries with L candidates: `from limbeck.losses import ckl`. It returns one
value per query; the term of the objective is the mean over queries. Sums and means over candidates leave out padding,
which receives no gradient. All computation is in float32 or better, under autocast too, and the teacher receives no
gradient. The order in which candidates are listed does not matter, even with ties (except for `rank_anchor=first`).

All losses on scores are twice differentiable and work under `torch.func.vmap`, `torch.func.grad` and
`torch.compile(fullgraph=True)`.

Without a mask, nothing is padded. Wrong calls raise `ValueError`, as wrong configurations do: options out of range,
missing inputs, shapes that differ, a mask that is not bool, ranks below 1, and NaN or infinity in an input that the
loss reads (not under padding). In training, under `torch.compile` or `vmap`, and on a GPU (where the check would have
to synchronise), the value of the query is NaN instead of an error; `trainer.nonfinite` says what the trainer then does.
To get NaN in your own loop on a CPU, use `limbeck.losses.finite.answering_nan()`.

Every loss has the options `weight`, its factor in the objective, and `schedules`: any numeric option can follow a
schedule over the steps, for example

```yaml
loss:
  ckl:
    schedules:
      gamma: {kind: linear, start: 2.0, end: 5.0, steps: 1000}
      weight: {kind: step, values: [0.0, 1.0], at: [500]}
```

`constant` has `value`; `linear` and `cosine` go from `start` at step 0 to `end` at step `steps` and stay there; `step`
has `values` and `at`, the steps at which the next value begins. The value depends only on the step, so a resumed
training continues exactly. A schedule that leaves the option's range at any step is an error before training starts.

`limbeck new loss NAME` writes a package with your own loss and its test ([extending](../howto/extending.md)).

"""


def page() -> str:
    """Return the page."""
    losses = sorted((entry for (kind, _), entry in entries().items() if kind == "loss"), key=lambda entry: entry.name)
    lines = ["| name | loss | needs | use |", "|---|---|---|---|"]
    written = []
    for entry in losses:
        function = getattr(importlib.import_module(f"limbeck.losses.{entry.name}"), entry.name)
        term = build({"_target_": entry.target}, key=entry.name)
        needs = ", ".join(f"`{field}`" for field in term.needs) or "labels only"
        parts = sections(inspect.getdoc(function) or "")
        when = _linked(parts["Notes"].split("\n\n")[0]).replace("\n", " ")
        what = (inspect.getdoc(inspect.getmodule(function)) or "").splitlines()[0]
        lines.append(f"| [`{entry.name}`](#{entry.name}) | {what} | {needs} | {when} |")
        written.append(_section(entry.name, function, parts, _options(entry)))
    general = _section("weighted_kl", weighted_kl, sections(inspect.getdoc(weighted_kl) or ""), "")
    return "\n".join([HEAD, *lines, "", *written, general]).rstrip() + "\n"


def _linked(text: str) -> str:
    """Replace the names of losses in a docstring by links to their sections."""
    names = [*(name for kind, name in entries() if kind == "loss"), "weighted_kl"]
    return re.sub(rf"``({'|'.join(names)})``", r"[`\1`](#\1)", text)


def _section(name: str, function: Callable[..., Any], parts: dict[str, str], options: str) -> str:
    body = [f"## {name}", _linked(parts["Summary"]), f"**Call**\n\n```python\n{name}{_signature(function)}\n```"]
    if options:
        body.append(f"**Options**, as `loss.{name}.OPTION`: {options}")
    body.append("**Parameters**\n\n" + _fields(parts["Parameters"]))
    body.append("**Returns**\n\n" + textwrap.dedent(parts["Returns"].split("\n", 1)[1]))
    body.append("**Notes**\n\n" + _linked(parts["Notes"]))
    body.append("**Reference**\n\n" + parts["References"])
    body.append(f"**Example**\n\n```pycon\n{parts['Examples']}\n```\n")
    return "\n\n".join(body)


def _signature(function: Callable[..., Any]) -> str:
    names, starred = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            names.append("*")
            starred = True
        default = parameter.default
        shown = getattr(default, "__name__", repr(default))
        names.append(parameter.name if default is parameter.empty else f"{parameter.name}={shown}")
    return f"({', '.join(names)})"


def _options(entry: Entry) -> str:
    return ", ".join(f"`{item.name}` = {item.default!r}" for item in entry.parameters if item.name != "schedules")


def _fields(text: str) -> str:
    lines = []
    for names, body in fields(text):
        shown = ", ".join(f"`{name}`" for name in names)
        lines.append(f"- {shown}: " + _linked(body).replace("\n", "\n  "))
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
