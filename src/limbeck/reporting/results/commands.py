"""The commands that make the runs of a row again."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.reporting.results.sweep import Finished

# They say where things are kept, not what is computed.
_DROPPED = ("paths.runs", "paths.cache", "force")
_FIRST = ("sweeps", "experiment")

_FLAGS = ("--config-path", "--config-name", "--config-dir")
"""Options of Hydra without which the overrides may not be read as they were."""

_Box = dict[str, tuple[str, ...]]
"""Override's key, or flag → its values; all combinations."""


def flags(env: Mapping[str, Any]) -> list[str]:
    """Return where a command read its configuration from: ``--config-dir FOLDER``, and what else it gave of that kind.

    Parameters
    ----------
    env
        Content of the run's ``env.json``.
    """
    from hydra._internal.utils import get_args_parser

    given, _ = get_args_parser().parse_known_args([str(word) for word in env.get("command") or []])
    values = {flag: getattr(given, flag.strip("-").replace("-", "_")) for flag in _FLAGS}
    return [word for flag, value in values.items() if value for word in (flag, value)]


def _searched(env: Mapping[str, Any]) -> list[str]:
    """Return the override of a command that adds folders of YAMLs; it is none of the run's own ones."""
    return [str(word) for word in env.get("command") or [] if str(word).startswith("hydra.searchpath=")]


def command(env: Mapping[str, Any]) -> str | None:
    """Return the command, quoted for a shell, that makes just one run; None where it is not known.

    Parameters
    ----------
    env
        As in ``flags``.
    """
    overrides = env.get("overrides")
    words = [*flags(env), *_searched(env), *map(_plain, overrides or [])]
    return shlex.join(["limbeck", "train", *words]) if overrides else None


def commands(runs: Sequence[Finished]) -> list[str]:
    """Return commands, quoted for a shell, that together make just these runs.

    Runs that differ in one override make one command with several values of it (``seed=1,2,3``).

    Parameters
    ----------
    runs
        With ``overrides`` in their ``env.json``; those without are left out: see ``untold``.
    """
    boxes: list[_Box] = []
    for run in runs:
        if "overrides" in run.env:
            box = _box(run.env)
            if box not in boxes:
                boxes.append(box)
    for key in list(dict.fromkeys(key for box in boxes for key in box if key not in _FLAGS)):
        order = list(dict.fromkeys(value for box in boxes for value in box.get(key, ())))
        boxes = _merged(boxes, key, order)
    return [_command(box) for box in boxes]


def untold(runs: Sequence[Finished]) -> int:
    """Return how many runs do not record their command."""
    return sum("overrides" not in run.env for run in runs)


def _plain(word: str) -> str:
    """Return an override as people type it: Hydra's sweeps put backslashes before colons, also where none is needed."""
    return word if set(word) & set("{}[]()'\"") else word.replace("\\:", ":")


def _box(env: Mapping[str, Any]) -> _Box:
    given = flags(env)
    found: _Box = {flag: (value,) for flag, value in zip(given[::2], given[1::2], strict=True)}
    for word in [*_searched(env), *map(_plain, env["overrides"])]:
        key, equals, value = word.partition("=")
        if key.lstrip("+") not in _DROPPED and not key.lstrip("+").startswith("launcher"):
            found[key] = (value,) if equals else ()
    return found


def _merged(boxes: Sequence[_Box], key: str, order: Sequence[str]) -> list[_Box]:
    """Put together what differs in one key alone; the same values always stand in the same order."""
    groups: dict[tuple, _Box] = {}
    for box in boxes:
        rest = tuple(sorted((name, values) for name, values in box.items() if name != key))
        group = groups.setdefault((key in box, rest), box)
        if group is not box:
            groups[(True, rest)] = group | {key: tuple(sorted({*group[key], *box[key]}, key=order.index))}
    return list(groups.values())


def _command(box: _Box) -> str:
    keys = sorted(box, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
    words = [word for flag in _FLAGS if flag in box for word in (flag, *box[flag])]
    for key in (key for key in keys if key not in _FLAGS):
        values = sorted(box[key], key=lambda value: (0, int(value)) if value.isdigit() else (1, 0))
        words.append(f"{key}={','.join(values)}" if values else key)
    several = any(len(values) > 1 for values in box.values())
    # A file of sweeps/ starts several runs by itself.
    flag = ["-m"] if several and "sweeps" not in box else []
    return shlex.join(["limbeck", "train", *flag, *words])
