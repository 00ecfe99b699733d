"""Patch Hydra to cache its work: the suite calls the command many hundred times in one process.

The composed configurations are the same (``test_config.py``). Processes that a test starts are not patched.
"""

import contextlib
import copy
import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

import omegaconf.base
from hydra import version
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra._internal.hydra import Hydra
from hydra.core import default_element
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.base import Box, UnionNode
from omegaconf.nodes import ValueNode

from limbeck.config import home

_READ, _BUILD = Hydra.get_mode, defaults_list._create_interpolation_map
_LIST, _COMPOSE = config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list
_LOAD, _PARSE = ConfigRepository.load_config, OverridesParser.parse_rule
_LOAD_INTO = ConfigLoaderImpl._load_single_config
_EXISTS, _SOURCE = ConfigRepository.group_exists, config_loader_impl.ConfigSourceInfo
_NAME, _FUNCTIONS = default_element.AnyNode, overrides_parser.create_functions
_RE_PARENT, _PARSE_TEXT, _AT_LEAST = Box._re_parent, omegaconf.base.parse, version.base_at_least
_NODES = {kind: kind.__deepcopy__ for kind in (DictConfig, ListConfig, *ValueNode.__subclasses__())}
_NAMES, _ALL = cache(_NAME), cache(_FUNCTIONS)
_NOTHING = OmegaConf.create({})

_LISTS: dict[tuple, DefaultsList] = {}
"""Choices, files and schemas → list of defaults."""
_COMPOSED: dict[int, DictConfig | None] = {}
"""``id`` of a cached list of defaults → its composed configuration, before single values are set."""
_CHOICES: dict[int, dict[str, Any]] = {}
"""``id`` of a cached list of defaults → the choice of each group, which the composed configuration records."""
_LOADED: dict[tuple[str, int], ConfigResult | None] = {}
"""(path, state of all sources) → contents of a file or schema."""
_PLACED: dict[tuple, ConfigResult] = {}
"""The same contents, at their place in the configuration."""
_GROUPS: dict[tuple[str, int], bool] = {}
"""(path, state of all sources) → whether it is a group."""
_STATES: dict[tuple, int] = {}
"""State of all sources → its number."""
_ALIVE: dict[int, Any] = {}
"""``id`` of a schema → the schema: as long as it is here, no other object gets this ``id``."""
_PARSED: dict[tuple[str, str], Any] = {}
"""Word of the command line → its parsed form."""


def compose_once() -> None:
    """Cache nearly all work of Hydra, in this process and in processes forked from it."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _mode, _choices
    config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list = _listed, _composed
    ConfigRepository.load_config, OverridesParser.parse_rule = _loaded, _parsed
    Box._re_parent, omegaconf.base.parse, version.base_at_least = _re_parented, _parsed_text, _at_least
    ConfigLoaderImpl._load_single_config = _placed
    ConfigRepository.group_exists, config_loader_impl.ConfigSourceInfo = _exists, _source
    # Hydra asks of a default's name only whether it is an interpolation; the functions of overrides never change.
    default_element.AnyNode, overrides_parser.create_functions = _NAMES, _ALL
    ConfigStore.__deepcopy__ = lambda self, _: self  # needless: Hydra also copies each node that it returns
    for kind in _NODES:
        kind.__deepcopy__ = _copied


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Undo the patch in this context."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _READ, _BUILD
    config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list = _LIST, _COMPOSE
    ConfigRepository.load_config, OverridesParser.parse_rule = _LOAD, _PARSE
    Box._re_parent, omegaconf.base.parse, version.base_at_least = _RE_PARENT, _PARSE_TEXT, _AT_LEAST
    ConfigLoaderImpl._load_single_config = _LOAD_INTO
    ConfigRepository.group_exists, config_loader_impl.ConfigSourceInfo = _EXISTS, _SOURCE
    default_element.AnyNode, overrides_parser.create_functions = _NAME, _FUNCTIONS
    del ConfigStore.__deepcopy__
    for kind, copied in _NODES.items():
        kind.__deepcopy__ = copied
    try:
        yield
    finally:
        compose_once()


def _mode(self, config_name, overrides):
    """Compose for ``hydra.mode`` only if it may be set: by a word, or in a file of ``sweeps``."""
    needed = any("hydra.mode" in word or word.lstrip("+").startswith("sweeps=") for word in overrides)
    return _READ(self, config_name, overrides) if needed else None


def _choices(overrides, defaults, self_added):
    """Build the configuration for interpolations in lists of defaults only if there is an interpolation."""
    needed = any(not each.is_self() and each.is_interpolation() for each in defaults)
    return _BUILD(overrides, defaults, self_added) if needed else _NOTHING


def _listed(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    """List the defaults once for the same choices, files and schemas."""
    given = Overrides(repo, overrides_list)
    chosen = given.override_choices, given.append_group_defaults, given.deletions
    key = config_name, prepend_hydra, skip_missing, repr(chosen), _state(repo.delegate)
    if key not in _LISTS:
        found = _LIST(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        _CHOICES[id(found.defaults)], found.overrides.known_choices = found.overrides.known_choices, {}
        _LISTS[key], _COMPOSED[id(found.defaults)] = found, None
    kept = _LISTS[key]
    return DefaultsList(kept.defaults, kept.defaults_tree, given.config_overrides, kept.overrides)


def _composed(self, defaults, repo):
    """Compose a list of defaults once, and record its choices once."""
    composed = _COMPOSED.get(id(defaults))
    if composed is None:
        keys = groupby(defaults, key=lambda each: (each.package or each.config_path).split(".")[0])
        parts = [[*part] for _, part in keys]
        composed = _COMPOSE(self, [_joined(self, part, repo) for part in parts], repo)
        if id(defaults) in _COMPOSED:
            composed.hydra.runtime.choices.update(_CHOICES[id(defaults)])
            _COMPOSED[id(defaults)] = composed
    return copy.deepcopy(composed)


def _joined(self, part, repo):
    """Compose the defaults of a key, as ``data`` or ``hydra``, once, and return them as a single default."""
    if len(part) == 1:
        return part[0]
    joined = ResultDefault(config_path=" ".join(f"{each.config_path}@{each.package}" for each in part))
    key = _place(joined, repo)
    if key not in _PLACED:
        _PLACED[key] = ConfigResult("", "", _COMPOSE(self, part, repo), {})
    return joined


def _loaded(self, config_path):
    """Read a file or a schema once."""
    key = config_path, _state(self)
    if key not in _LOADED:
        _LOADED[key] = _LOAD(self, config_path)
    return _LOADED[key]


def _exists(self, config_path):
    """Look for a group once."""
    key = config_path, _state(self)
    if key not in _GROUPS:
        _GROUPS[key] = _EXISTS(self, config_path)
    return _GROUPS[key]


@cache
def _source(path, schema, provider):
    """Build the record of a source once."""
    return OmegaConf.structured(_SOURCE(path, schema, provider))


def _placed(self, default, repo):
    """Put its contents in place once."""
    key = _place(default, repo)
    if key not in _PLACED:
        _PLACED[key] = _LOAD_INTO(self, default, repo)
    return dataclasses.replace(_PLACED[key], config=copy.deepcopy(_PLACED[key].config))


def _place(default, repo):
    return default.config_path, default.package, default.primary, _state(repo.delegate)


def _state(repository) -> int:
    """Return a number for the state of all sources of a repository."""
    if repository.__dict__.get("_seen") is not repository.sources:
        state = tuple((source.provider, _contents(source)) for source in repository.sources)
        repository._seen, repository._state = repository.sources, _STATES.setdefault(state, len(_STATES))
    return repository._state


def _parsed(self, s, rule_name):
    """Parse a word once."""
    if (s, rule_name) not in _PARSED:
        _PARSED[s, rule_name] = _PARSE(self, s, rule_name)
    return copy.copy(_PARSED[s, rule_name])  # Hydra sets attributes of it


@cache
def _parsed_text(*given):
    """Parse a value with ``${…}`` once."""
    return _PARSE_TEXT(*given)


def _at_least(ver):
    """Compare versions of Hydra once."""
    return _compared(version.getbase(), ver)


@cache
def _compared(base, ver):
    return _AT_LEAST(ver)


def _re_parented(self):
    """Set the parent of a node's direct children at the end of a merge.

    OmegaConf does so for the whole tree, at each of some fifty merges; deeper nodes already have their parents.
    """
    if isinstance(self, UnionNode):
        _RE_PARENT(self)
        return
    content = self.__dict__["_content"]
    nodes = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for node in nodes:
        if node is not None and node.__dict__["_parent"] is not self:
            node._set_parent(self)


def _copied(self, memo=None):
    """Copy a node as OmegaConf does, with all below it and the same parent, but without calling constructors."""
    made = object.__new__(type(self))
    metadata = object.__new__(type(self._metadata))
    metadata.__dict__.update(self._metadata.__dict__, flags=dict(self._metadata.flags))
    cache = self._metadata.resolver_cache
    metadata.resolver_cache = copy.deepcopy(cache) if cache else defaultdict(dict)
    made.__dict__.update(self.__dict__, _metadata=metadata, _flags_cache=None)
    content = self.__dict__.get("_content")
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        copies = {key: each.__deepcopy__() if type(each) in _NODES else copy.deepcopy(each) for key, each in pairs}
        for each in copies.values():
            each.__dict__["_parent"] = made
        made.__dict__["_content"] = copies if isinstance(content, dict) else [*copies.values()]
    return made


def _contents(source) -> Any:
    """Return the contents of a source of configurations: the user's present files, or schemas."""
    if source.scheme() == "file" and not source.path.startswith(str(home())):  # limbeck's own files stay the same
        return source.path, tuple(_files(source.path))
    if source.scheme() == "structured":
        nodes = {id(node): node for node in _nodes(source.store.repo)}
        _ALIVE.update(nodes)
        return source.path, tuple(nodes)
    return source.path


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.name.endswith(".yaml"):
                yield entry.path, entry.stat().st_mtime_ns, entry.stat().st_size


def _nodes(repo) -> Iterator[Any]:
    for each in repo.values():
        if isinstance(each, dict):
            yield from _nodes(each)
        else:
            yield each
