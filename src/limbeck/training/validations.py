"""``validations.jsonl`` in a run folder: one line per validation, appended at once. Reading it does not need torch."""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = "validations.jsonl"
PRUNED = "pruned.json"
"""File in the folder of a run that a study has pruned by its validations; resuming the run removes it."""


@dataclass(frozen=True)
class Validated:
    """Result of one validation."""

    step: int
    of: int
    """Steps of the whole training."""
    value: float


def append(folder: Path, validated: Validated) -> None:
    """Append a line, unless the file has it already: a resumed run repeats validations after its checkpoint.

    End an incomplete last line, left by a killed run, first.
    """
    line = json.dumps({"step": validated.step, "of": validated.of, "value": validated.value}).encode()
    with (folder / FILE).open("ab+") as file:
        file.seek(0)
        *whole, cut = file.read().split(b"\n")
        if cut:  # incomplete last line
            file.write(b"\n")
        if line not in (*whole, cut):
            file.write(line + b"\n")


def read(folder: Path) -> list[Validated]:
    """Return the validations by step; for a step that was repeated after a resume, the last one."""
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
            continue  # incomplete line
    return [found[step] for step in sorted(found)]
