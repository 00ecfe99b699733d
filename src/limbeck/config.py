"""Configuration: its folder, building parts from it, and run ids.

Nothing heavy is imported here, so that a mistyped override is found before torch is imported.
"""

import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck.registry import Entry, scan

PACKAGES = "LIMBECK_PACKAGES"
"""Environment variable: comma-separated packages with the user's parts, besides limbeck's."""

Config = dict[str, Any]
"""A composed configuration, or a record of a run, as plain containers with any content."""

Node = Mapping[str, Any]
"""A part of a composed configuration, read only: ``_target_`` and options, or several such nodes by name."""

_FAMILIES = ("torch.nn.", "torch.optim.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.")
"""Packages besides limbeck whose classes may be built. Other parts of torch start processes or load pickles."""

_WRITTEN = 4096
"""Items of an iterator that are written at once."""

_IDENTITY_FREE = ("name", "paths", "logger", "launcher", "force", "dry_run", "checks", "hydra")
"""Root keys that control where and how a run is stored, not what it computes."""


class ConfigError(ValueError):
    """The configuration asks for something impossible; the message names the key and what to do."""


class FailedError(Exception):
    """A part of the work failed after the rest was done; the command ends with status 1."""

    result: Any = None
    """The result of the rest, as the function in Python would have returned it."""


@cache
def home() -> Path:
    """Return the folder with ``conf`` and ``sweeps``: the checkout, or the copy inside an installed package."""
    package = Path(__file__).parent
    checkout = package.parents[1]
    return checkout if (checkout / "conf" / "train.yaml").is_file() else package / "_shipped"


def _user_packages() -> list[str]:
    return [name.strip() for name in os.environ.get(PACKAGES, "").split(",") if name.strip()]


def own_parts() -> str:
    """Return how limbeck finds the user's parts, and the present value of the environment variable."""
    packages = _user_packages()
    now = f"it names {', '.join(packages)}" if packages else "it is not set"
    return f"for a part of your own the environment variable {PACKAGES} must name its package; {now}"


@cache
def entries() -> dict[tuple[str, str], Entry]:
    """Return every registered part by (kind, name): limbeck's and those of the packages in ``LIMBECK_PACKAGES``."""
    found = scan(Path(__file__).parent, "limbeck")
    for package in _user_packages():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"{PACKAGES} names {package!r}, which is not an importable package folder; the folder that it lies in "
                "belongs into PYTHONPATH"
            )
        for key, entry in scan(Path(spec.submodule_search_locations[0]), package).items():
            if key in found:
                raise ConfigError(f"{entry.path}: {key[0]} {key[1]!r} is already registered by {found[key].path}")
            found[key] = entry
    return found


def _targets(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, str(node["_target_"])
        for name, value in node.items():
            yield from _targets(value, f"{key}.{name}")
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _targets(value, f"{key}[{position}]")


def registered(target: str) -> Entry | None:
    """Return the registered part that a target ``KIND/NAME`` names, or None."""
    kind, _, name = target.partition("/")
    return entries().get((kind, name))


def part(node: Mapping[str, Any], *, key: str) -> Any:
    """Return the class or function that a configuration node names, without calling it."""
    check_node(node, key)
    return _check_target(key, str(node["_target_"]))


def check_node(node: Any, key: str) -> None:
    """Raise ``ConfigError`` for a node that is a plain value, as ``loss.ckl=null`` and ``loss.ckl=5`` make it."""
    if not isinstance(node, Mapping):
        got = "null" if node is None else repr(node)
        raise ConfigError(f"{key} takes no value, got {got}; set its options, {key}.OPTION=…, or leave {key}=… out")


def part_name(node: Mapping[str, Any]) -> str:
    """Return the registered name of a configuration node's part; else the name of its class."""
    target = str(node.get("_target_", "none"))
    return target.rpartition("/" if registered(target) else ".")[2]


def _check_target(key: str, target: str) -> Any:
    """Return the object that a target names, if a configuration may build it: its author may be anybody."""
    from hydra.utils import get_object

    entry = registered(target)
    path = target if entry is None else entry.path
    root = path.split(".")[0]
    own = root in _user_packages()
    named = next((each.target for each in entries().values() if each.path == target), None)
    if named is not None:
        raise ConfigError(f"{key}._target_: write {named} instead of {target}: parts go by kind and name")
    if not (entry or own or target.startswith(_FAMILIES)):
        raise ConfigError(
            f"{key}._target_: {target} is not allowed; a configuration may build registered parts of limbeck, classes "
            f"of {', '.join(family.rstrip('.') for family in _FAMILIES)}, and parts of your own\n{own_parts()}"
        )
    try:
        found = get_object(path) if entry is None else _object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_: {target} cannot be imported: {error}") from error
    # ``torch.nn.modules.module.os.system`` has that path but is not torch's; a function is no part.
    ours = own or root == "limbeck"
    place = f"{getattr(found, '__module__', '')}."
    if not place.startswith(f"{root}." if ours else _FAMILIES) or not (ours or inspect.isclass(found)):
        raise ConfigError(f"{key}._target_: {target} is not a class of {root}; it is not built")
    return found


def build(node: Mapping[str, Any], *runtime: Any, key: str) -> Any:
    """Build the part that a configuration node describes; the only way from configuration to objects.

    Parameters
    ----------
    node
        Plain mapping with ``_target_`` and options.
    runtime
        Values of the constructor's parameters before the ``*``, which the program supplies. They include the nodes with
        which a part is registered (``parts``), so these are left out of ``node``.
    key
        The node's key in the configuration, for messages.

    Raises
    ------
    ConfigError
        There is no target, it is not allowed, or its constructor refuses the options; the message names the key.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    check_node(node, key)
    if "_target_" not in node:
        raise ConfigError(
            f"{key} has options ({', '.join(node)}) but nothing that they belong to: choose the part, or take {key} out"
        )
    for where, target in _targets(node, key):
        _check_target(where, target)
    check_keys(node, key)
    entry = registered(str(node["_target_"]))
    own = {name: value for name, value in node.items() if entry is None or name not in entry.parts}
    try:
        return instantiate(_with_parts(own), *runtime, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from error
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(_named(key, node, str(cause))) from error
        if cause is not None:
            raise cause from error
        raise


def _with_parts(node: Any) -> Any:
    """Return a node in which each registered target is replaced by its builder, for Hydra's instantiation."""
    if isinstance(node, Mapping):
        found = {name: _with_parts(value) for name, value in node.items()}
        entry = registered(str(node.get("_target_")))
        if entry is None:
            return found
        part = _object(entry.path)
        # A partial, because for a class Hydra would use the dotted path: see _object.
        return {**found, "_target_": partial(_object(entry.builder), part) if entry.builder else partial(part)}
    return [_with_parts(each) for each in node] if isinstance(node, list) else node


def _object(path: str) -> Any:
    # Not by attributes of the package: the attribute `limbeck.losses.ckl` is the function, not the module.
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def check_keys(node: Mapping[str, Any], key: str) -> None:
    """Raise ``ConfigError`` for an option that is not finite, or unknown to the part: ``+key=…`` gets past Hydra."""
    entry = registered(str(node.get("_target_")))
    if entry is None:
        return
    known = {item.name for item in entry.parameters} | set(entry.parts)
    for name in node:
        if isinstance(value := node[name], float) and not math.isfinite(value):
            raise ConfigError(f"{key}.{name} must be a finite number, got {value}")
        if not name.startswith("_") and name not in known:
            raise ConfigError(f"{key}.{name} is no key of the configuration\nknown here: {', '.join(sorted(known))}")


def _named(key: str, node: Mapping[str, Any], message: str) -> str:
    """Put the key before a constructor's message: ``gamma must be …`` becomes ``loss.ckl.gamma must be …``."""
    return f"{key}.{message}" if message.split(" ")[0].split(".")[0] in node else f"{key}: {message}"


def fingerprint(value: Any) -> str:
    """Return 16 hexadecimal digits that depend only on the content of plain containers, not on the order of keys.

    An iterator counts as the list of its items, but only a few of them are in memory at once.
    """
    found = hashlib.sha256()
    for piece in _written(value):
        found.update(piece.encode())
    return found.hexdigest()[:16]


def _written(value: Any) -> Iterator[str]:
    """Yield JSON in pieces."""
    if not isinstance(value, Iterator):
        yield json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        return
    between = "["
    while some := list(islice(value, _WRITTEN)):
        yield between + json.dumps(some, sort_keys=True, ensure_ascii=False, default=str)[1:-1]
        between = ", "
    yield "[]" if between == "[" else "]"


def differences(one: Any, other: Any, key: str = "") -> list[str]:
    """Return the dotted keys in which two nested mappings differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = list(dict.fromkeys([*one, *other]))
        return [
            name
            for each in keys
            for name in differences(one.get(each), other.get(each), f"{key}.{each}" if key else each)
        ]
    return [] if one == other else [key]


def run_id(config: Mapping[str, Any]) -> str:
    """Return the 8 hexadecimal digits that name a run: the same in every process, and for any name, paths and logger.

    Parameters
    ----------
    config
        The composed configuration as plain containers.
    """
    return fingerprint(identity(config))[:8]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a composed configuration that determines what a run computes."""
    return {key: value for key, value in config.items() if key not in _IDENTITY_FREE}
