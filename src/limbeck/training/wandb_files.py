"""Reader of Weights & Biases' local run files, ``wandb/*run-TIME-ID/run-ID.wandb``.

A file is a log of protobuf records in LevelDB's log format. wandb has no Python reader for it.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAGIC = b":W&B"
_FILE_HEADER = len(_MAGIC) + 3
"""The magic word, a 2-byte magic number and a 1-byte version."""
_BLOCK = 32768
_CHUNK = struct.Struct("<IHB")
"""Checksum, length, and whether the chunk is whole (1), the first (2), a middle (3) or the last (4) of a record."""
_WHOLE, _FIRST, _LAST = 1, 2, 4


def find(folder: Path, identity: str) -> list[Path]:
    """Return the files of a W&B run in a run folder, oldest first: one per start or resume."""
    return sorted((folder / "wandb").glob(f"*run-*-{identity}/run-{identity}.wandb"))


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file, up to a record that a kill has cut off.

    Raises
    ------
    ValueError
        The file is not a W&B run file.
    """
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    if data and not data.startswith(_MAGIC):
        raise ValueError(f"{path} is no file of a W&B run")
    position, part = _FILE_HEADER, b""
    while position + _CHUNK.size <= len(data):
        rest = _BLOCK - position % _BLOCK
        if rest < _CHUNK.size:  # too short for a header: padding
            position += rest
            continue
        _, length, kind = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size
        if kind == 0 or position + length > len(data):
            return
        chunk = data[position : position + length]
        position += length
        part = chunk if kind in (_WHOLE, _FIRST) else part + chunk
        if kind in (_WHOLE, _LAST):
            record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            record.ParseFromString(part)
            yield record


def history(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the logged metrics of each step: the step, and name → value."""
    for record in records(path):
        if record.HasField("history"):
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            yield int(row.pop("_step", record.history.step.num)), row


def last_step(path: Path) -> int:
    """Return the last logged step of a file; -1 if there is none."""
    return max((step for step, _ in history(path)), default=-1)
