"""Initial query term weights of an inference-free sparse student."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.config import ConfigError
from limbeck.students.base import Student
from limbeck.students.splade import Splade
from limbeck.text.tokenizer import TextTokenizer

NAME = "query_table"
"""Name of the parameter in the student."""


def start(student: Student, tokenizer: TextTokenizer) -> None:
    """Initialise the query weights of a student that has them: from its file, or 1 for words, 0 for special tokens.

    Raises
    ------
    ConfigError
        The file cannot be read, has no token of this tokenizer, or has a weight that is not a number >= 0.
    """
    if not isinstance(student, Splade) or student.query_table is None:
        return
    found = ones(tokenizer, student.width)
    if student.table_file is not None:
        found = _read(Path(student.table_file), tokenizer, student.width)
    with torch.no_grad():
        student.query_table.copy_(found)


def ones(tokenizer: TextTokenizer, width: int) -> Tensor:
    """Return (V,) weights: 1 for words and 0 for special tokens."""
    weights = torch.ones(width)
    weights[tokenizer.special] = 0.0
    return weights


def _read(path: Path, tokenizer: TextTokenizer, width: int) -> Tensor:
    weights, known = torch.zeros(width), 0
    for word, value in _file(path).items():
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        if not fits:
            raise ConfigError(f"student.query_table: {path} has {value!r} for {word!r}; a weight is a number >= 0")
        number = tokenizer.number(word)
        if number is not None:
            weights[number], known = float(value), known + 1
    if not known:
        raise ConfigError(
            f"student.query_table: {path} has no token of this tokenizer; use the file of a model with the same "
            "vocabulary"
        )
    return weights


def _file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"student.query_table: {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f'student.query_table: {path} must hold a mapping, {{"word": weight, …}}')
    return found
