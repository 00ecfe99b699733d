"""Read the words of a command line, overrides and options of Hydra, and explain unreadable ones."""

import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from limbeck.config import ConfigError

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"
"""Hyphens and dashes; word processors turn two hyphens into one dash."""


def check(words: Sequence[str]) -> None:
    """Raise ``ConfigError`` for words that are neither options of Hydra nor overrides.

    Parameters
    ----------
    words
        The words after the verb.
    """
    given, others = _options().parse_known_args(list(words))
    for word in [*others, *given.overrides]:
        if word[:1] in _DASHES and word.strip(_DASHES):
            raise ConfigError(f"{word} is no option; settings are written key=value: {_without_dashes(word, words)}")
        if word.startswith("="):
            raise ConfigError(f"{word} has no key; settings are written key=value")


def folders(words: Sequence[str]) -> list[Path]:
    """Return the folders of YAML files that ``--config-dir`` and ``hydra.searchpath=[file://…]`` add.

    Parameters
    ----------
    words
        The words after the verb.
    """
    given, _ = _options().parse_known_args(list(words))
    found = [] if given.config_dir is None else [given.config_dir]
    for override in (read(word) for word in given.overrides if "hydra.searchpath" in word):
        if override is not None and override.key_or_group == "hydra.searchpath" and isinstance(override.value(), list):
            found += [str(each).removeprefix("file://") for each in override.value()]
    return [Path(each) for each in found]


@cache
def _options() -> Any:
    """Return the parser of Hydra's own options, with limbeck's message for unknown ones."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message[0].upper()}{message[1:]}; limbeck VERB --hydra-help lists Hydra's own options")

    parser: Any = get_args_parser()
    parser.error = refuse
    return parser


def _without_dashes(word: str, words: Sequence[str]) -> str:
    """Return ``--seed=1``, or ``--seed`` and the next word, as an override."""
    bare = word.lstrip(_DASHES)
    if " " in bare and "=" not in bare:
        bare = bare.replace(" ", "=", 1)
    if "=" in bare:
        return _shown(bare)
    behind = words[words.index(word) + 1 :][:1] if word in words else []
    known = bool(behind) and "=" not in behind[0] and behind[0][:1] not in _DASHES
    return _shown(f"{bare}={behind[0]}") if known else f"{bare}=VALUE"


def _shown(word: str) -> str:
    return shlex.quote(word) if read(word) is not None else quoted(word) or word


def with_name(words: Sequence[str]) -> list[str]:
    """Return overrides; a first word without ``=`` is the name, as in ``limbeck report NAME``."""
    first, rest = words[:1], list(words[1:])
    return [word if "=" in word or word[:1] in "-~" else f"name='{_escaped(word)}'" for word in first] + rest


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("'", "\\'")


def unreadable(word: str) -> str:
    """Return the message for an override that Hydra cannot parse, with quoting that works."""
    key, equals, _ = word.partition("=")
    if not equals:
        return f"{word!r} is no override; settings are written key=value"
    if read(f"{key}=1") is None:
        return f"{word}: {key!r} is no key; a key has letters a to z, digits, dots, / and _"
    if word[len(key) :].startswith("=~"):
        home = f'{key}="$HOME{word[len(key) + 2 :]}"'
        return f"{word}: ~ is expanded by the shell alone, and not after every =; write {home}"
    better = quoted(word)
    if better is None:
        return (
            f"{word} cannot be read: brackets and quotes must be closed, as in key=[a,b], key={{a: 1}}, 'key=\"a b\"'"
        )
    return f"{word} cannot be read: some of its characters have a meaning in overrides; quote the value: {better}"


def ambiguous(word: str) -> str:
    """Return the message for ``key=a,b`` without ``-m``."""
    key, _, value = word.partition("=")
    return (
        f"{word} has several values: for a list write {shlex.quote(f'{key}=[{value}]')}, for a text with a comma "
        f"{quoted(word)}, to run each of them add -m"
    )


def quoted(word: str) -> str | None:
    """Return an override with its value in quotes, for a shell; None where quoting does not help.

    Examples
    --------
    >>> print(quoted("data.collection=käse"))
    'data.collection="käse"'
    """
    key, _, value = word.partition("=")
    if value[:1] == "[" and value[-1:] == "]":
        inner = [_in_quotes(each) if read(f"{key}={each}") is None else each for each in value[1:-1].split(",")]
        better = f"{key}=[{','.join(inner)}]"
    elif value[:1] in ("[", "{") or value[-1:] in ("]", "}"):
        return None  # unclosed brackets are no text
    else:
        better = f"{key}={_in_quotes(value)}"
    return shlex.quote(better) if read(better) is not None else None


def _in_quotes(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    elif value[:1] in ("'", '"'):
        value = value[1:]  # an unclosed quote
    escaped = value.replace('"', '\\"')
    return f'"{escaped}\\"' if escaped.endswith("\\") else f'"{escaped}"'  # a backslash before a quote must be doubled


def read(word: str) -> Any:
    """Return an override as parsed by Hydra; None where it cannot be parsed."""
    from hydra.errors import HydraException

    try:
        return _parser().parse_override(word)
    except HydraException:
        return None


@cache
def _parser() -> Any:
    """Return the parser of overrides, cached: creating one takes as long as parsing ten."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()
