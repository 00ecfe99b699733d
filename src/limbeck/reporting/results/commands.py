"""The commands that reproduce the runs of a row."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.reporting.results.sweep import Finished

# They set where files are stored, not what is computed.
_DROPPED = ("paths.runs", "paths.cache", "force")
_FIRST = ("sweeps", "experiment")

_FLAGS = ("--config-path", "--config-name", "--config-dir")
"""Options of Hydra without which the overrides may mean something else."""

_Box = dict[str, tuple[str, ...]]
"""Key of an override, or flag → its values; stands for all combinations."""


def flags(env: Mapping[str, Any]) -> list[str]:
    """Return the options by which a command found its configuration: ``--config-dir FOLDER`` and the like.

    Parameters
    ----------
    env
        Contents of the run's ``env.json``.
    """
    from hydra._internal.utils import get_args_parser

    given, _ = get_args_parser().parse_known_args([str(word) for word in env.get("command") or []])
    values = {flag: getattr(given, flag.strip("-").replace("-", "_")) for flag in _FLAGS}
    return [word for flag, value in values.items() if value for word in (flag, value)]


def _searched(env: Mapping[str, Any]) -> list[str]:
    """Return a command's override that adds folders of YAML files; the run's own overrides lack it."""
    return [str(word) for word in env.get("command") or [] if str(word).startswith("hydra.searchpath=")]


def command(env: Mapping[str, Any]) -> str | None:
    """Return the command, quoted for a shell, that reproduces one run; None if it is unknown.

    Parameters
    ----------
    env
        As in ``flags``.
    """
    overrides = env.get("overrides")
    words = [*flags(env), *_searched(env), *map(_plain, overrides or [])]
    return shlex.join(["limbeck", "train", *words]) if overrides else None


def commands(runs: Sequence[Finished]) -> list[str]:
    """Return commands, quoted for a shell, that together reproduce exactly these runs.

    Runs that differ in one override are merged into one command with several values (``seed=1,2,3``).

    Parameters
    ----------
    runs
        Runs with ``overrides`` in their ``env.json``; others are left out: see ``untold``.
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
    """Return an override as people type it, without the needless backslashes that Hydra's sweeps put before colons."""
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
    """Merge boxes that differ in only one key; equal values keep the same order."""
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
    # A file in sweeps/ starts several runs by itself.
    flag = ["-m"] if several and "sweeps" not in box else []
    return shlex.join(["limbeck", "train", *flag, *words])
