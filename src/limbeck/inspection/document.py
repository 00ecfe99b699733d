"""Write the page of the checks: ``python -m limbeck.inspection.document > docs/reference/checks.md``."""

import inspect
import textwrap

from limbeck.config import entries
from limbeck.docstrings import sections
from limbeck.inspection.findings import checks, severity_of

HEAD = """\
# The checks of teacher scores

Written by `python -m limbeck.inspection.document > docs/reference/checks.md` from the docstrings; do not edit.

`limbeck train` makes them before the first step, `limbeck inspect` with the same overrides shows them with numbers and
pictures. A warning is logged; an error stops the training. Which checks apply depends on what the losses make of the
scores: nothing, their order, a softmax over the list at `teacher_temperature`, or the raw numbers; each loss is asked.

`checks.ignore=[NAME,…]` turns checks off, `checks.NAME.OPTION=VALUE` sets a threshold, and `checks.queries` (5000) is
how many queries are measured at most, evenly spaced; `null` measures all. Missing and infinite scores are counted in
all lists anyway. None of this changes the name of a run.
"""


def page() -> str:
    """Return the page."""
    lines = ["| name | severity | what it catches |", "|---|---|---|"]
    written = []
    for name, function in sorted(checks().items()):
        parts = sections(inspect.getdoc(function) or "")
        what, why = (text.replace("\n", " ") for text in parts["Summary"].split("\n\n", 1))
        lines.append(f"| [`{name}`](#{name}) | {severity_of(function)} | {what} |")
        written.append(f"## {name}\n\n{severity_of(function).capitalize()}. {what}\n\n{why}\n")
        written.append(f"**Remedy.** {parts['Remedy'].replace(chr(10), ' ')}\n")
        options = _options(name, parts.get("Parameters", ""))
        if options:
            written.append(f"**Options**, as `checks.{name}.OPTION`\n\n{options}\n")
    return "\n".join([HEAD, *lines, "", *written]).rstrip() + "\n"


def _options(name: str, described: str) -> str:
    defaults = {item.name: item.default for item in entries()["check", name].parameters}
    lines = []
    for block in textwrap.dedent(described).split("\n\n") if described else ():
        for line in block.splitlines():
            if line[:1] != " ":
                options = ", ".join(f"`{option}` = {defaults[option]:g}" for option in line.split(", "))
                lines.append(f"- {options}:")
            else:
                lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
