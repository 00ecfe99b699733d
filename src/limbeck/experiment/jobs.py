"""The jobs of a sweep: each without the keys that it does not have, equal ones merged.

``-m loss=kl,ckl loss.ckl.gamma=2,5`` is four combinations, and three jobs: ``kl`` has no γ.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.experiment.words import read

Words = tuple[str, ...]
Compose = Callable[[Sequence[str]], Any]
"""Overrides → the composed configuration; raises what Hydra raises."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of a sweep, each once."""

    overrides: list[list[str]]
    remark: str
    """What was left out and merged, in a line; empty if nothing was."""


def for_each_job(words: Sequence[str]) -> list[str]:
    """Return the words of a sweep with ``loss.kl.weight=2`` as a choice of one, if some job may lack the key.

    Hydra applies what has one value before there are jobs, to a configuration that no job has; a choice waits for them.

    Parameters
    ----------
    words
        What was typed behind the verb. Words of no sweep come back as they are.
    """
    if not any(word in ("-m", "--multirun") or word.startswith("sweeps=") for word in words):
        return list(words)
    return [_choice(word) for word in words]


def _choice(word: str) -> str:
    key, _, value = word.partition("=")
    named = re.fullmatch(r"[a-z]\w*[./].+", key) and not re.match(r"(hydra|paths)[./]", key)
    override = read(word) if named else None
    if override is None or override.is_sweep_override() or value in ("", "null"):
        return word
    choice = f"{key}=choice({value})"
    return choice if read(choice) is not None else word


def jobs(combinations: Sequence[Sequence[str]], compose: Compose, optional: Collection[str] = ()) -> Jobs:
    """Compose all jobs of a sweep.

    A key that a job does not have is left out of it, if another job has it; jobs that are equal then are one.

    Parameters
    ----------
    combinations
        Overrides of each combination of values.
    compose
        Hydra.
    optional
        Keys that no job needs to have.

    Raises
    ------
    HydraException
        A job cannot be composed, or no job has a key.
    """
    kept: list[Words] = []
    lacking: dict[str, list[Words]] = {}
    refused: dict[str, Exception] = {}
    for words in map(tuple, combinations):
        left = words
        while left not in kept:
            try:
                compose(left)
                kept.append(left)
            except Exception as error:
                key = _absent(error)
                found = next((word for word in left if _key(word) == key), None)
                if key is None or found is None:
                    raise
                left = tuple(word for word in left if word is not found)
                lacking.setdefault(key, []).append(words)
                refused[key] = max(refused.get(key, error), error, key=_depth)
    for key, error in refused.items():
        if key not in optional and not any(_key(word) == key for words in kept for word in words):
            raise error
    merged = len(combinations) - len(kept)
    return Jobs([list(words) for words in kept], _remark(lacking, merged, len(kept)))


def _absent(error: Exception) -> str | None:
    """Return the key, or the group, that a job does not have; None for other errors."""
    from hydra.errors import ConfigCompositionException

    found = re.match(r"Could not override '([^']+)'\.", str(error))
    return found.group(1) if found and isinstance(error, ConfigCompositionException) else None


def _depth(error: Exception) -> int:
    """Return how far a key leads before it ends: the error that says most of a mistyped one."""
    return len(str(getattr(error.__cause__, "full_key", "")).split("."))


def _key(word: str) -> str:
    return word.partition("=")[0]


def _remark(lacking: dict[str, list[Words]], merged: int, count: int) -> str:
    remarks = []
    for key, every in lacking.items():
        head = re.split(r"[./]", key.rpartition("@")[2])[0]
        chosen = dict.fromkeys(word for words in every for word in words if _key(word) in (head, "experiment"))
        remarks.append(f"{key} is left out where it is no key" + (f" ({', '.join(chosen)})" if chosen else ""))
    if merged:
        remarks.append(f"{count + merged} combinations, {count} different jobs")
    return "; ".join(remarks)
