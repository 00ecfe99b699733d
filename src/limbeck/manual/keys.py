"""The keys of the configuration, read from YAML files and sources without composing anything."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from limbeck.config import entries, home
from limbeck.docstrings import explained
from limbeck.registry import Entry, Parameter
from limbeck.schemas import generated

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast loader, if PyYAML was built with it."""

Chosen = Mapping[str, Sequence[str]]
"""Group → names selected in it."""


@dataclass(frozen=True)
class Key:
    """A key that can be set."""

    name: str
    """Dotted name, as on the command line."""
    default: Any
    """``...`` if it must be given."""
    annotation: str
    """Type, as in the signature; empty for a key without a signature."""
    text: str
    """Explanation in its docstring, or the comment in the YAML; Markdown."""


def of_verb(verb: str, chosen: Chosen | None = None) -> dict[str, Key]:
    """Return the keys of a verb, in the order of its YAML.

    Parameters
    ----------
    verb
        Name of the verb, and of its configuration.
    chosen
        Parts that replace the default ones.
    """
    return _of_file(home() / "conf" / f"{verb}.yaml", "", "", chosen or {})


def own(verb: str) -> dict[str, Key]:
    """Return a verb's keys that belong to no group; each has a comment in its YAML."""
    file = home() / "conf" / f"{verb}.yaml"
    included = [name for name in _loaded(file).get("defaults", []) if isinstance(name, str) and name != "_self_"]
    return _commented(file, "") | {key: each for name in included for key, each in own(name).items()}


def of_option(group: str, name: str, place: str | None = None) -> dict[str, Key]:
    """Return the keys of ``GROUP=NAME``.

    Parameters
    ----------
    group, name
        As on the command line: ``eval/fusion``, ``rrf``.
    place
        Node of the keys; None for the group's default place.
    """
    place = group.replace("/", ".") if place is None else place
    folder = home() if group == "sweeps" else home() / "conf"
    file = folder / group / f"{name}.yaml"
    if file.is_file():
        return _of_file(file, group, place, {})
    return _of_defaults([generated().get((group, name), {})], group, place, {})


def _of_file(file: Path, group: str, place: str, chosen: Chosen) -> dict[str, Key]:
    package = re.search(r"^# @package (\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    if package:
        place = "" if package[1] == "_global_" else package[1]
    node = _loaded(file)
    found = _of_defaults(node.get("defaults", []), group, place, chosen)
    body = {name: value for name, value in node.items() if name not in ("defaults", "hydra")}
    for key, value in _flat(body, place):
        if key in found:
            found[key] = replace(found[key], default=... if value == "???" else value)
    for key, commented in _commented(file, place).items():
        found.setdefault(key, commented)
    return found


@cache
def _loaded(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text(encoding="utf-8"), _LOADER) or {}


def _of_defaults(defaults: Sequence[Any], group: str, place: str, chosen: Chosen) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for item in defaults:
        if isinstance(item, str):
            if item != "_self_":
                found |= of_option(group, item, place) if group else of_verb(item, chosen)
            continue
        for word, names in item.items():
            if word.startswith(("override ", "optional ")):
                continue
            target, _, package = word.partition("@")
            child = target.lstrip("/") if target.startswith("/") or not group else f"{group}/{target}"
            package = package or target.rpartition("/")[2]
            there = place if package == "_here_" else f"{place}.{package}".lstrip(".")
            several: Sequence[Any] = names if isinstance(names, list) else [names]
            for name in chosen.get(child, several) if not group else several:
                if child.startswith("schema/"):
                    found |= _of_part(entries()[child.removeprefix("schema/"), name], there)
                elif name is not None and name != "???":
                    found |= of_option(child, name, there)
    return found


def _of_part(entry: Entry, place: str) -> dict[str, Key]:
    keys = (Key(f"{place}.{item.name}", item.default, item.annotation, _text(entry, item)) for item in entry.parameters)
    return {key.name: key for key in keys}


def _flat(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{place}.{name}".lstrip(".")
        yield key, value
        if isinstance(value, Mapping):
            yield from _flat(value, key)


_LINE = re.compile(r"(?P<blanks> *)(?P<name>\w+):(?P<value>.*?)(?: +# (?P<comment>.*))?$")


def _commented(file: Path, place: str) -> dict[str, Key]:
    """Return the keys of a YAML that are followed by a comment."""
    found: dict[str, Key] = {}
    above: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match["blanks"])
        above = [each for each in above if each[0] < depth]
        above.append((depth, match["name"]))
        key = ".".join(filter(None, (place, *(name for _, name in above))))
        if match["comment"] and above[0][1] not in ("defaults", "hydra"):
            value = yaml.load(match["value"] or "null", _LOADER)
            found[key] = Key(key, ... if value == "???" else value, "", match["comment"])
    return found


# -- what a docstring says ------------------------------------------------------------------------------------------


def _text(entry: Entry, item: Parameter) -> str:
    """Return a docstring's explanation of a parameter; ``As in ``a.b.C```` refers to another docstring."""
    pointer = re.fullmatch(r"As in ``([\w.]+)``\.?", item.text)
    if pointer is None:
        return item.text
    module, _, name = pointer[1].rpartition(".")
    return _pointed(module or entry.path.rpartition(".")[0], name).get(item.name, item.text)


@cache
def _pointed(module: str, name: str) -> dict[str, str]:
    """Return the explanations of parameters in the docstring of a class or function, without importing its module."""
    root, _, inner = module.partition(".")
    spec = find_spec(root)
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        file = Path(folder, *inner.split(".")).with_suffix(".py")
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return explained(ast.get_docstring(node) or "")
    return {}
