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
    """Add a line. One that a kill cut short is left behind: it gets an end of its own."""
    line = json.dumps({"step": validated.step, "of": validated.of, "value": validated.value}) + "\n"
    with (folder / FILE).open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode())


def read(folder: Path) -> list[Validated]:
    """Return the validations by step; of a step that a resumed run came to again, the last."""
    try:
        lines = (folder / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: dict[int, Validated] = {}
    for line in lines:
        try:
            told = json.loads(line)
            found[told["step"]] = Validated(int(told["step"]), int(told["of"]), float(told["value"]))
        except (ValueError, TypeError, KeyError):
            continue  # cut short by a kill, or not written to its end yet
    return [found[step] for step in sorted(found)]
