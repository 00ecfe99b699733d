"""Errors in the user's words: one message that names the key and says what to do."""

import difflib
import errno
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.config import Config, ConfigError, own_parts
from limbeck.experiment.options import typed
from limbeck.experiment.words import ambiguous, unreadable
from limbeck.schemas import OPTIONS

if TYPE_CHECKING:
    from omegaconf import DictConfig


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` with similar words, or an empty string."""
    close = difflib.get_close_matches(word, list(known), 3, 0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def as_plain(
    config: "DictConfig",
    keys: Collection[str],
    *,
    overrides: Sequence[str] | None = None,
    trains: bool = False,
    optional: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
) -> Config:
    """Return a composed configuration as plain containers; nodes of students in folders are read from there.

    Parameters
    ----------
    config
        As Hydra composed it.
    keys
        The keys that the verb knows.
    overrides, trains
        As in ``limbeck.experiment.own_data.named``: where no collection is chosen, the collection of the given run,
        candidates or scores is used. None, for verbs that open no collection, leaves ``data`` unchanged.
    optional, required
        As in ``limbeck.experiment.options.typed``.
    absent
        Keys that may be missing; all others must be there.

    Raises
    ------
    ConfigError
        A key is missing (``student=[]`` and ``~student`` remove it); a key is unknown to the verb (``+key`` gets past
        Hydra); a folder holds no known student; or its collection is unknown.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationResolutionError

    from limbeck.experiment.own_data import named, settle
    from limbeck.students.saved import resolve

    there = set(config.keys())  # "in" would also resolve the value
    for key in keys:
        if key not in there and key not in absent:
            raise ConfigError(
                f"{key} is missing; leave out {key}=[] and ~{key}, which remove it, or choose one: {key}=…"
            )
    try:
        given = [] if overrides is None else named(config, overrides, trains=trains)
        resolve(config)
        settle(config, given)
        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except InterpolationResolutionError as error:
        first = str(error).split("\n")[0]
        raise ConfigError(
            f"{_unresolved(config)}: {first}; ${{…}} stands for another key, ${{oc.env:NAME}} for a "
            "variable of the environment"
        ) from None
    for key in plain:
        if key not in keys:
            raise ConfigError(f"{key} is no key of the configuration{suggest(key, keys)}")
    return typed(plain, optional=optional, required=required)


def _unresolved(node: Any, key: str = "") -> str:
    """Return the first key whose ``${…}`` cannot be resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationResolutionError

    for name in node.keys() if OmegaConf.is_dict(node) else range(len(node)):
        if OmegaConf.is_missing(node, name):
            continue
        try:
            value = node[name]
        except InterpolationResolutionError:
            return f"{key}{name}"
        if OmegaConf.is_config(value) and (inner := _unresolved(value, f"{key}{name}.")):
            return inner
    return ""


def explain(error: Exception) -> str | None:
    """Return the message for an error of Hydra, OmegaConf, the system or limbeck; None for any other error."""
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, MemoryError | RuntimeError | OSError) and (lacking := _of_memory(error)):
        return lacking
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _of_system(error) if isinstance(error, OSError) else None  # some of Hydra's errors are OSErrors, too
    if isinstance(error, OverrideParseException):
        return unreadable(str(error.override))
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    full_key = getattr(cause, "full_key", None) or _full_key(cause)
    first = str(cause).strip().split("\n")[0]
    if isinstance(cause, MissingMandatoryValue) or "Missing mandatory value" in first:
        return f"{full_key} must be given: {full_key}=…"
    unknown = re.search(r"Key '([^']*)' (?:is not in struct|not in '.*')", str(cause))
    if unknown:
        return _unknown_key(full_key or unknown.group(1), cause)
    if full_key and "is not a ListConfig" in first:
        return f"{full_key} must be a list, even of one value: {full_key}=[…]"
    if isinstance(cause, OmegaConfBaseException) and full_key:
        return f"{full_key}: {first}"
    text = str(error).strip()
    several = re.match(r"Ambiguous value for argument '(.*)'\n", text)
    if several:
        return ambiguous(several.group(1))
    group = re.match(r"You must specify '([^']*)', e\.g, [^\n]*\nAvailable options:\n(.*)", text, re.DOTALL)
    if group:
        return f"{group.group(1)} must be given: {group.group(1)}=…\nchoose from: {', '.join(group.group(2).split())}"
    option = re.search(r"Could not find '([^']*)'\n+Available options in '([^']*)':\n(.*)", text, re.DOTALL)
    if option:
        group, _, chosen = option.group(1).rpartition("/")
        known = option.group(3).split("Config search path")[0].split()
        own = f"\n{own_parts()}" if group in OPTIONS.values() else ""
        return f"{group}={chosen} does not exist{suggest(chosen, known)}\nchoose from: {', '.join(known)}{own}"
    twice = re.search(r"([^@\s]*)@(\S+) appears more than once in the final defaults list", text)
    if twice:
        return f"{twice.group(2)} is chosen twice; name it once"
    several = re.match(r"Multiple values for [^@\s]*@([^.\s]+)\. ", text)
    if several:
        return f"{several.group(1)} takes one name, not a list of several; to run each of them add -m, without brackets"
    override = re.search(r"Could not override '([^']*)'\.\s*No match in the defaults list", text)
    if override:
        return f"{override.group(1)} is neither a key nor a group of the configuration"
    return re.sub(r"\n+", "\n", text)


def _full_key(error: Exception) -> str:
    """Return the key named in the text of an OmegaConf error, where its attribute is empty."""
    named = re.search(r"^\s*full_key: (\S+)$", str(error), re.MULTILINE)
    return named.group(1) if named else ""


_SYSTEM = {
    errno.ENOENT: "it does not exist and cannot be created",
    errno.EEXIST: "there is a file where a folder should be; give another path",
    errno.ENOTDIR: "a part of this path is a file, where a folder should be; give another path",
    errno.EISDIR: "this is a folder, where a file should be; give another path",
    errno.EACCES: "this is not allowed; look at the rights of the file and of its folder, or give another path",
    errno.EPERM: "this is not allowed; look at the rights of the file and of its folder, or give another path",
    errno.EROFS: "this file system is read-only; give another path",
    errno.ENOSPC: "the disk is full; free some space and run the same command again: finished parts are reused",
    errno.EDQUOT: "the quota is used up; free some space and run the same command again: finished parts are reused",
}


def _of_memory(error: Exception) -> str | None:
    from limbeck.training.resources import out_of_memory

    if not out_of_memory(error):
        return None
    first = (str(error).strip() or type(error).__name__).split("\n")[0]
    return f"out of memory: {first}\nUse a smaller model, shorter texts or smaller batches"


def _of_system(error: OSError) -> str | None:
    """Return what the system refused and where; None for errors that users cannot mend."""
    reason = _SYSTEM.get(error.errno or 0)
    path = error.filename2 or error.filename
    if reason is None or (path is None and error.errno not in (errno.ENOSPC, errno.EDQUOT)):
        return None
    return f"{path}: {reason}" if path else reason


def _unknown_key(full_key: str, cause: Exception) -> str:
    parent = getattr(cause, "parent_node", None)
    name = full_key.rpartition(".")[2]
    known = [str(key) for key in parent] if parent is not None else []
    known = [key for key in known if not key.startswith("_")]
    listed = f"\nknown here: {', '.join(known)}" if known else ""
    return f"{full_key} is no key of the configuration{suggest(name, known)}{listed}"
