"""Configuration: where it lies, the one door to instantiation, and run ids.

Nothing heavy is imported here: a mistyped override is found before torch is.
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
"""Environment variable: comma-separated packages of the user's own parts, beside limbeck's."""

Config = dict[str, Any]
"""A composed configuration, or a record of what was done with one, as plain containers: truly open data."""

Node = Mapping[str, Any]
"""A part of a composed configuration that is only read: ``_target_`` and options, or several such by name."""

_FAMILIES = ("torch.nn.", "torch.optim.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.")
"""What may be built that is not ours. Elsewhere in torch are classes that start processes or load pickles."""

_WRITTEN = 4096
"""Items of an iterator that are written at once."""

_IDENTITY_FREE = ("name", "paths", "logger", "launcher", "force", "dry_run", "checks", "hydra")
"""Root keys that say where and how a run is stored, not what it computes."""


class ConfigError(ValueError):
    """The configuration asks for something impossible; the message names the key and what to do."""


class FailedError(Exception):
    """The work was done as far as possible, and a part of it failed; the command ends with status 1."""

    result: Any = None
    """What was done: the result that a function of Python would have returned."""


@cache
def home() -> Path:
    """Return the folder that holds ``conf`` and ``sweeps``: the checkout, or the copy inside an installed package."""
    package = Path(__file__).parent
    checkout = package.parents[1]
    return checkout if (checkout / "conf" / "train.yaml").is_file() else package / "_shipped"


def _user_packages() -> list[str]:
    return [name.strip() for name in os.environ.get(PACKAGES, "").split(",") if name.strip()]


def own_parts() -> str:
    """Return how parts of the user's own become known, and what is said of that now."""
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
    """Return the class or function a configuration node names, without building it."""
    check_node(node, key)
    return _check_target(key, str(node["_target_"]))


def check_node(node: Any, key: str) -> None:
    """Raise ``ConfigError`` for a node that holds no part: ``loss.ckl=null`` and ``loss.ckl=5`` put a value there."""
    if not isinstance(node, Mapping):
        got = "null" if node is None else repr(node)
        raise ConfigError(f"{key} takes no value, got {got}; set its options, {key}.OPTION=…, or leave {key}=… out")


def part_name(node: Mapping[str, Any]) -> str:
    """Return the name that a configuration node's part is registered by; else the name of its class."""
    target = str(node.get("_target_", "none"))
    return target.rpartition("/" if registered(target) else ".")[2]


def _check_target(key: str, target: str) -> Any:
    """Return what a target names; refuse what a configuration must not run, since it may come from anywhere."""
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
            f"{key}._target_: {target} is not allowed; built are registered parts of limbeck, classes of "
            f"{', '.join(family.rstrip('.') for family in _FAMILIES)}, and parts of your own\n{own_parts()}"
        )
    try:
        found = get_object(path) if entry is None else _object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_: {target} cannot be imported: {error}") from error
    # ``torch.nn.modules.module.os.system`` is reachable by that path but is not torch's; a function is no part.
    ours = own or root == "limbeck"
    place = f"{getattr(found, '__module__', '')}."
    if not place.startswith(f"{root}." if ours else _FAMILIES) or not (ours or inspect.isclass(found)):
        raise ConfigError(f"{key}._target_: {target} is not a class of {root}; it is not built")
    return found


def build(node: Mapping[str, Any], *runtime: Any, key: str) -> Any:
    """Build the part a configuration node describes; the only way from configuration to objects.

    Parameters
    ----------
    node
        Plain mapping with ``_target_`` and options.
    runtime
        What the program supplies: the parameters before the ``*`` of the constructor. Nodes that a part is registered
        with (``parts``) are among them, so those in ``node`` are left out.
    key
        The node's key in the configuration, for messages.

    Raises
    ------
    ConfigError
        There is no target, it is not allowed, or its constructor refuses the options: the message names the key.
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
    """Return a node in which the target of every registered part is what builds it, as Hydra instantiates it."""
    if isinstance(node, Mapping):
        found = {name: _with_parts(value) for name, value in node.items()}
        entry = registered(str(node.get("_target_")))
        if entry is None:
            return found
        part = _object(entry.path)
        # As a partial: of a class Hydra would take the dotted path, see _object.
        return {**found, "_target_": partial(_object(entry.builder), part) if entry.builder else partial(part)}
    return [_with_parts(each) for each in node] if isinstance(node, list) else node


def _object(path: str) -> Any:
    # Not by attributes from the package down: as an attribute, `limbeck.losses.ckl` is the function, not the module.
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def check_keys(node: Mapping[str, Any], key: str) -> None:
    """Raise ``ConfigError`` for an option that is not finite, or that the part lacks: ``+key=…`` gets past Hydra."""
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
    """Prefix a constructor's message with the key: ``gamma must be …`` becomes ``loss.ckl.gamma must be …``."""
    return f"{key}.{message}" if message.split(" ")[0].split(".")[0] in node else f"{key}: {message}"


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that depend on the content of plain containers only, not on key order.

    An iterator counts as the list of what it yields, of which few are in memory at once.
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
    """Return the 8 hex digits that name a run: the same in every process, whatever its name, paths and logger.

    Parameters
    ----------
    config
        The composed configuration as plain containers.
    """
    return fingerprint(identity(config))[:8]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a composed configuration that says what a run computes."""
    return {key: value for key, value in config.items() if key not in _IDENTITY_FREE}
