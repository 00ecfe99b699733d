"""Hydra's composition without what it does in vain: the suite calls the command many hundred times in one process.

The configurations are the same, see ``test_config.py``; processes that a test starts compose as ever.
"""

import contextlib
import copy
import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import omegaconf.base
from hydra import version
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
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
_RE_PARENT, _PARSE_TEXT, _AT_LEAST = Box._re_parent, omegaconf.base.parse, version.base_at_least
_NODES = {kind: kind.__deepcopy__ for kind in (DictConfig, ListConfig, *ValueNode.__subclasses__())}
_NOTHING = OmegaConf.create({})

_LISTS: dict[tuple, DefaultsList] = {}
"""Lists of defaults: what was chosen, and from which files and schemas → the list."""
_COMPOSED: dict[int, DictConfig | None] = {}
"""What a kept list of defaults is composed to, before single values are set; by the list's ``id``."""
_LOADED: dict[tuple[str, int], ConfigResult | None] = {}
"""What a file or a schema is, by its path and by what all sources were then."""
_PLACED: dict[tuple, ConfigResult] = {}
"""The same, at its place in the configuration."""
_STATES: dict[tuple, int] = {}
"""Numbers of what all sources were."""
_PARSED: dict[tuple[str, str], Any] = {}
"""What a word of the command is."""


def compose_once() -> None:
    """Spare Hydra nearly all of its work, for the rest of this process and those forked from it."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _mode, _choices
    config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list = _listed, _composed
    ConfigRepository.load_config, OverridesParser.parse_rule = _loaded, _parsed
    Box._re_parent, omegaconf.base.parse, version.base_at_least = _re_parented, _parsed_text, _at_least
    ConfigLoaderImpl._load_single_config = _placed
    ConfigStore.__deepcopy__ = lambda self, _: self  # for each composition, though it copies what it hands out
    for kind in _NODES:
        kind.__deepcopy__ = _copied


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Compose as Hydra does."""
    Hydra.get_mode, defaults_list._create_interpolation_map = _READ, _BUILD
    config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list = _LIST, _COMPOSE
    ConfigRepository.load_config, OverridesParser.parse_rule = _LOAD, _PARSE
    Box._re_parent, omegaconf.base.parse, version.base_at_least = _RE_PARENT, _PARSE_TEXT, _AT_LEAST
    ConfigLoaderImpl._load_single_config = _LOAD_INTO
    del ConfigStore.__deepcopy__
    for kind, copied in _NODES.items():
        kind.__deepcopy__ = copied
    try:
        yield
    finally:
        compose_once()


def _mode(self, config_name, overrides):
    """Compose a first time, to read ``hydra.mode``, only where it may be set: of our files, in those of ``sweeps``."""
    needed = any("hydra.mode" in word or word.lstrip("+").startswith("sweeps=") for word in overrides)
    return _READ(self, config_name, overrides) if needed else None


def _choices(overrides, defaults, self_added):
    """Build what interpolations in lists of defaults are looked up in only where there is one."""
    needed = any(not each.is_self() and each.is_interpolation() for each in defaults)
    return _BUILD(overrides, defaults, self_added) if needed else _NOTHING


def _listed(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    """List the defaults once for the same choices from the same files and schemas."""
    given = Overrides(repo, overrides_list)
    chosen = given.override_choices, given.append_group_defaults, given.deletions
    key = config_name, prepend_hydra, skip_missing, repr(chosen), *map(_contents, repo.get_sources())
    if key not in _LISTS:
        found = _LIST(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        _LISTS[key], _COMPOSED[id(found.defaults)] = found, None
    kept = _LISTS[key]
    return DefaultsList(kept.defaults, kept.defaults_tree, given.config_overrides, kept.overrides)


def _composed(self, defaults, repo):
    """Compose a list of defaults once."""
    composed = _COMPOSED.get(id(defaults))
    if composed is None:
        composed = _COMPOSE(self, defaults, repo)
        if id(defaults) in _COMPOSED:
            _COMPOSED[id(defaults)] = composed
    return copy.deepcopy(composed)


def _loaded(self, config_path):
    """Read a file, or a schema, once."""
    key = config_path, _state(self)
    if key not in _LOADED:
        _LOADED[key] = _LOAD(self, config_path)
    found = _LOADED[key]
    return None if found is None else dataclasses.replace(found, config=copy.deepcopy(found.config))


def _placed(self, default, repo):
    """Put what is read to its place once."""
    key = default.config_path, default.package, default.primary, _state(repo.delegate)
    if key not in _PLACED:
        _PLACED[key] = _LOAD_INTO(self, default, repo)
    return dataclasses.replace(_PLACED[key], config=copy.deepcopy(_PLACED[key].config))


def _state(repository) -> int:
    """Return a number of what all sources of a repository are."""
    if repository.__dict__.get("_seen") is not repository.sources:
        state = tuple((source.provider, _contents(source)) for source in repository.sources)
        repository._seen, repository._state = repository.sources, _STATES.setdefault(state, len(_STATES))
    return repository._state


def _parsed(self, s, rule_name):
    """Parse a word once."""
    if (s, rule_name) not in _PARSED:
        _PARSED[s, rule_name] = _PARSE(self, s, rule_name)
    return copy.deepcopy(_PARSED[s, rule_name])


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
    """Set the parent of what lies directly below a node, at the end of a merge.

    OmegaConf does it for the whole tree, at each of some fifty merges; nodes further below have theirs since they came.
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
    """Copy a node as OmegaConf does: with all below it, and with the same parent; without making each one anew."""
    made = object.__new__(type(self))
    metadata = object.__new__(type(self._metadata))
    metadata.__dict__.update(self._metadata.__dict__, flags=dict(self._metadata.flags))
    cache = self._metadata.resolver_cache
    metadata.resolver_cache = copy.deepcopy(cache) if cache else defaultdict(dict)
    made.__dict__.update(self.__dict__, _metadata=metadata, _flags_cache=None)
    content = self.__dict__.get("_content")
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        copies = {key: copy.deepcopy(each) for key, each in pairs}
        for each in copies.values():
            each.__dict__["_parent"] = made
        made.__dict__["_content"] = copies if isinstance(content, dict) else [*copies.values()]
    return made


def _contents(source) -> Any:
    """Return what a source of configurations has: the user's files as they are now, or schemas."""
    if source.scheme() == "file" and not source.path.startswith(str(home())):  # nobody changes ours meanwhile
        return source.path, tuple(_files(source.path))
    if source.scheme() == "structured":
        return source.path, tuple(_Same(node) for node in _nodes(source.store.repo))
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


class _Same:
    """Is equal to itself alone, by what it holds, and keeps it."""

    def __init__(self, held) -> None:
        self.held = held

    def __eq__(self, other):
        return self.held is other.held

    def __hash__(self):
        return id(self.held)
