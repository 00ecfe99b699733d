"""``validations.jsonl`` in a run folder: a line per validation, as soon as it is there. Needs no torch to be read."""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = "validations.jsonl"
PRUNED = "pruned.json"
"""File in the folder of a run that was ended early for what its validations were; a run that goes on removes it."""


@dataclass(frozen=True)
class Validated:
    """One validation."""

    step: int
    of: int
    """Steps of the whole training."""
    value: float


def append(folder: Path, validated: Validated) -> None:
    """Add a line, unless a run that was killed before its checkpoint has written it.

    A line that a kill cut short gets an end.
    """
    line = json.dumps({"step": validated.step, "of": validated.of, "value": validated.value}).encode()
    with (folder / FILE).open("ab+") as file:
        file.seek(0)
        *whole, cut = file.read().split(b"\n")
        if cut:  # by a kill
            file.write(b"\n")
        if line not in (*whole, cut):
            file.write(line + b"\n")


def read(folder: Path) -> list[Validated]:
    """Return the validations by step; of a step that a resumed run came to again, the last."""
    try:
        lines = (folder / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: dict[int, Validated] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            found[entry["step"]] = Validated(int(entry["step"]), int(entry["of"]), float(entry["value"]))
        except (ValueError, TypeError, KeyError):
            continue  # cut short by a kill, or not written to its end yet
    return [found[step] for step in sorted(found)]
