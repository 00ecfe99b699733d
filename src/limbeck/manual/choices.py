"""Groups and their parts: the verbs that take them, and each part in one line."""

import re
from functools import cache

from limbeck.config import entries, home
from limbeck.docstrings import paragraph, plain, sections
from limbeck.experiment.groups import defaults, options
from limbeck.manual.verbs import VERBS
from limbeck.registry import Entry
from limbeck.schemas import generated

_BY_MODULE = ("loss", "format")
"""Kinds of parts that their module's docstring explains best."""


@cache
def groups() -> dict[str, list[str]]:
    """Return all groups, each with the verbs that take it; a group within another one has the verbs of that one."""
    found: dict[str, list[str]] = {}
    for verb in VERBS:
        for group in defaults(verb):
            found.setdefault(group, []).append(verb)
    inner = {path.parent.relative_to(home() / "conf").as_posix() for path in (home() / "conf").glob("*/*/*.yaml")}
    for group in sorted(inner | {group for group, _ in generated() if "/" in group}):
        found.setdefault(group, found.get(group.partition("/")[0], []))
    return found


def registered(group: str, name: str) -> Entry | None:
    """Return the part that ``GROUP=NAME`` selects; None for a YAML that only sets options."""
    for default, chosen in _defaults(group, name):
        kind, _, place = default.removeprefix("/schema/").partition("@")
        if default.startswith("/schema/") and place in ("_here_", chosen):
            return entries().get((kind, chosen))
    return None


def title(group: str, name: str) -> str:
    """Return one line about ``GROUP=NAME``, from the comment in its YAML, else from the docstring."""
    comment = _comment(group, name)
    entry = registered(group, name)
    if comment or entry is None:
        return plain(comment) if comment or group != "candidates/parts" else title("candidates", name)
    return plain(entry.title) if entry.kind in _BY_MODULE else paragraph(entry.doc)


def about(group: str, name: str) -> list[str]:
    """Return paragraphs about ``GROUP=NAME``: the comment in its YAML, its docstring, and when to use it."""
    entry = registered(group, name)
    found = [plain(_comment(group, name))]
    if entry is not None:
        parts = sections(entry.doc)
        found += [plain(entry.title)] * (entry.kind in _BY_MODULE)
        found += [plain(text) for text in parts["Summary"].split("\n\n") if not _formula(text)]
        found.append(paragraph(parts.get("Notes", "")))
    return list(filter(None, dict.fromkeys(found)))


def _formula(text: str) -> bool:
    """Return whether a paragraph is a formula, or continues with its symbols."""
    return text.lstrip().startswith(("```math", "with "))


def _defaults(group: str, name: str) -> list[tuple[str, str]]:
    import yaml

    file = home() / "conf" / group / f"{name}.yaml"
    if not file.is_file():
        return list(generated().get((group, name), {}).items())
    listed = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", [])
    found = [(key, value) for each in listed if isinstance(each, dict) for key, value in each.items()]
    inherited = [each for each in listed if isinstance(each, str) and each != "_self_" and each != name]
    return found + [pair for each in inherited if each in options(group) for pair in _defaults(group, each)]


def _comment(group: str, name: str) -> str:
    folder = home() if group == "sweeps" else home() / "conf"
    file = folder / group / f"{name}.yaml"
    if not file.is_file():
        return ""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# "))
    text = re.sub(r"\s*(?:Command|Runs|Hardware and time[^:]*): .*", "", " ".join(lines))
    question = text.removeprefix("Question: ")
    return text if question == text else question[:1].upper() + question[1:]
