"""Find the parts and verbs that have a key, and keys similar to a word."""

import difflib
from collections.abc import Iterator
from typing import NamedTuple

from limbeck.experiment.groups import defaults, options
from limbeck.manual.choices import groups
from limbeck.manual.keys import Key, of_option, of_verb, own
from limbeck.manual.verbs import VERBS


class Found(NamedTuple):
    """A key of one group or verb."""

    group: str
    """The group; empty for a key that belongs only to verbs."""
    name: str
    """Part of the group, or verb."""
    key: Key


def found_keys(name: str) -> list[Found]:
    """Return all places of a key: in parts, default ones first, and among a verb's own keys.

    Parameters
    ----------
    name
        Dotted: ``loss.ckl.gamma``.
    """
    root = name.partition(".")[0]
    inner = [group for group in groups() if "/" in group and group.partition("/")[0] == root]
    for level in (inner, [root] if root in groups() else []):  # presets repeat the keys of their parts
        found = [
            Found(group, part, keys[name])
            for group in level
            for part in _default_first(group)
            if name in (keys := of_option(group, part))
        ]
        if found:
            break
    else:
        found = []
    mine = [Found("", verb, own(verb)[name]) for verb in VERBS if name in own(verb)]
    if not found and not mine:
        mine = [Found("", verb, keys[name]) for verb in VERBS if name in (keys := of_verb(verb))]
    return found + mine


def verbs_of(found: list[Found]) -> list[str]:
    """Return the verbs that take a key."""
    taken = {verb for each in found for verb in (groups()[each.group] if each.group else [each.name])}
    return [verb for verb in VERBS if verb in taken]


def below(node: str) -> list[Found]:
    """Return the keys below a node, ``data.world``, each with its default part's values."""
    root = node.partition(".")[0]
    parts = [(root, part) for part in _default_first(root)] if root in groups() else []
    sources = [(group, part, of_option(group, part)) for group, part in parts]
    sources += [("", verb, of_verb(verb)) for verb in VERBS if not parts]
    found: dict[str, Found] = {}
    for group, name, keys in sources:
        for key in keys.values():
            if key.name.startswith(f"{node}."):
                found.setdefault(key.name, Found(group, name, key))
    return list(found.values())


def similar(word: str) -> list[str]:
    """Return the keys whose last name is a word or, if there are none, is similar to it; the shortest first."""
    last = {key.name: key.name.rpartition(".")[2] for key in _every()}
    close = [word] if word in last.values() else difflib.get_close_matches(word, set(last.values()), 3, 0.7)
    return [name for each in close for name in sorted(last, key=len) if last[name] == each]


def _default_first(group: str) -> list[str]:
    chosen = {str(name) for verb in VERBS for each, name in defaults(verb).items() if each == group}
    return sorted(options(group), key=lambda name: (name not in chosen, name))


def _every() -> Iterator[Key]:
    for verb in VERBS:
        yield from of_verb(verb).values()
    for group in groups():
        if "/" not in group:
            for part in options(group):
                yield from of_option(group, part).values()
