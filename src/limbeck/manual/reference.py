"""The configuration reference as pages of the documentation: every verb, group, part and key.

Generated from the same sources as ``limbeck help`` whenever the documentation is built; the pages are not stored.
"""

import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from limbeck.docstrings import line, plain
from limbeck.experiment.groups import defaults as parts_of
from limbeck.experiment.groups import options
from limbeck.manual.choices import groups, title
from limbeck.manual.finding import Found
from limbeck.manual.keys import Key, of_option, of_verb
from limbeck.manual.types import kind_of, shown, words
from limbeck.manual.verbs import PAGES, VERBS
from limbeck.markup import code, escape

FOLDER = "reference/configuration"
"""Folder of the pages, below ``docs``."""

_PRESETS = ("experiment", "sweeps", "debug", "table", "tuning")
"""Groups whose parts only set keys of other groups."""
_SETS = "eval"
"""The group whose parts differ in their evaluation sets, not in their keys."""

_INDEX = """\
# Configuration

Every verb, every group and every key, written from the sources when this documentation is built. `limbeck help KEY`
shows the same on a terminal, `limbeck VERB --cfg job` all keys of a verb with their values.

- `GROUP=NAME` chooses a part of a group: `loss=ckl`, `student=splade`, `backbone=static`.
- `KEY=VALUE` sets a key: `loss.ckl.gamma=3`, `trainer.steps=500`. A key that does not exist is refused, with the
  closest one that does.
- A default of *must be given* has to be on the command line, or in the experiment.
"""


@cache
def defaults(verb: str) -> Mapping[str, Any]:
    """Return the groups of a verb, each with its default part."""
    return parts_of(verb)


@cache
def pages() -> dict[str, tuple[str, str]]:
    """Return the pages: path below ``docs`` → title and Markdown."""
    found = {f"{FOLDER}/index.md": ("Configuration", _index())}
    return found | {page_of(group): (group, group_page(group)) for group in groups()}


def page_of(group: str) -> str:
    """Return the path of a group's page, below ``docs``."""
    return f"{FOLDER}/{group.replace('/', '_')}.md"


def group_page(group: str) -> str:
    """Return the page of a group: its parts, and all their keys."""
    verbs = ", ".join(f"`{verb}`" for verb in groups()[group])
    named = [str(name) for verb in groups()[group] for each, name in defaults(verb).items() if each == group and name]
    default = f" Unless chosen, it is `{group}={named[0]}`." if named and named[0] in options(group) else ""
    blocks = [f"# {group}", f"A group of {verbs}.{default}{_read_on(group)}", f"## Parts, `{group}=NAME`"]
    blocks.append(_table(["name", "what it is"], ([code(name), escape(title(group, name))] for name in options(group))))
    found = keys_of(group)
    if found:
        blocks += ["## Keys", _keys(found)]
    return "\n\n".join(blocks) + "\n"


@cache
def keys_of(group: str) -> list[Found]:
    """Return the keys of all parts of a group."""
    if group in _PRESETS:
        return []
    parts = ["default"] if group == _SETS else options(group)
    return [Found(group, part, key) for part in parts for key in of_option(group, part).values()]


def keys_of_verb(verb: str) -> list[Key]:
    """Return the keys of a verb that are on no group's page."""
    of_groups = {each.key.name for group in groups() for each in keys_of(group)}
    return [key for key in of_verb(verb).values() if key.name not in of_groups]


def _index() -> str:
    rows = ([_linked(group), ", ".join(verbs)] for group, verbs in groups().items())
    blocks = [_INDEX, "## Groups", _table(["group", "of the verbs"], rows), "## Verbs"]
    for name, verb in VERBS.items():
        examples = "\n".join(f"limbeck {example}" for example in verb.examples)
        blocks += [f"### limbeck {name}", f"{verb.what[:1].upper()}{verb.what[1:]}. {escape(verb.about)}"]
        blocks.append(f"```sh\n{examples}\n```")
        chosen = ", ".join(map(_linked, defaults(name)))
        blocks += [f"Groups: {chosen}."] * bool(chosen)
        blocks.append(_table(["key", "type", "default", "meaning"], map(_cells, keys_of_verb(name))))
    return "\n\n".join(blocks) + "\n"


def _linked(group: str) -> str:
    return f"[`{group}`]({os.path.relpath(page_of(group), FOLDER)})"


def _keys(found: list[Found]) -> str:
    """Return a table of keys; a key that several parts explain in the same words appears once."""
    every = {each.name for each in found}
    said: dict[tuple[str, str, str], list[Found]] = {}
    for each in found:
        said.setdefault((each.key.name, each.key.annotation, each.key.text), []).append(each)
    several = any({each.name for each in those} != every for those in said.values())
    rows = []
    for those in said.values():
        parts = list(dict.fromkeys(each.name for each in those))
        of = "all" if set(parts) == every else ", ".join(map(code, parts))
        values = list(dict.fromkeys(_default(each.key) for each in those))
        name, kind, _, meaning = _cells(those[0].key)
        others = f"{values[0]}; others in other parts" if len(values) > 1 else values[0]
        rows.append([name, kind, others, meaning, *([of] if several else [])])
    head = ["key", "type", "default", "meaning", *(["of"] if several else [])]
    return _table(head, rows)


def _cells(key: Key) -> list[str]:
    """Return the name of a key, its type, default and meaning."""
    kind = words(key.annotation) if key.annotation else kind_of(key.default)
    return [code(key.name), escape(kind), _default(key), escape(line(plain(key.text.split("\n\n")[0]), 10_000))]


def _default(key: Key) -> str:
    return "*must be given*" if key.default is ... else code(shown(key.default))


def _read_on(group: str) -> str:
    page = PAGES.get(group) or PAGES.get(group.partition("/")[0])
    if not page:
        return ""
    name = page.rpartition("/")[2].removesuffix(".md").replace("_", " ")
    return f" Read on: [{name}]({os.path.relpath(page, f'docs/{FOLDER}')})."


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
