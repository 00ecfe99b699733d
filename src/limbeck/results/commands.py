"""The commands that make the runs of a row again."""

import shlex
from collections.abc import Sequence

from limbeck.results.sweep import Finished

# They say where things are kept, not what is computed.
_DROPPED = ("paths.runs", "paths.cache", "force")
_FIRST = ("sweeps", "experiment")

_Box = dict[str, tuple[str, ...]]
"""Override's key → its values; all combinations."""


def commands(runs: Sequence[Finished]) -> list[str]:
    """Return commands, quoted for a shell, that together make just these runs.

    Runs that differ in one override make one command with several values of it (``seed=1,2,3``).

    Parameters
    ----------
    runs
        With ``overrides`` in their ``env.json``; those without are left out: see :func:`untold`.
    """
    boxes: list[_Box] = []
    for run in runs:
        if "overrides" in run.env:
            box = _box(run.env["overrides"])
            if box not in boxes:
                boxes.append(box)
    for key in list(dict.fromkeys(key for box in boxes for key in box)):
        order = list(dict.fromkeys(value for box in boxes for value in box.get(key, ())))
        boxes = _merged(boxes, key, order)
    return [_command(box) for box in boxes]


def untold(runs: Sequence[Finished]) -> int:
    """Return how many runs do not tell what they were made from."""
    return sum("overrides" not in run.env for run in runs)


def _box(overrides: Sequence[str]) -> _Box:
    found: _Box = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if key.lstrip("+") not in _DROPPED and not key.lstrip("+").startswith(("hydra", "launcher")):
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
    words = []
    for key in keys:
        values = sorted(box[key], key=lambda value: (0, int(value)) if value.isdigit() else (1, 0))
        words.append(f"{key}={','.join(values)}" if values else key)
    several = any(len(values) > 1 for values in box.values())
    # A file of sweeps/ says by itself that several runs are made.
    flag = ["-m"] if several and "sweeps" not in box else []
    return shlex.join(["limbeck", "train", *flag, *words])
