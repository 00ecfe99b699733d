"""The jobs of a sweep: keys that a job does not have are left out, and equal jobs are merged.

``-m loss=kl,ckl loss.ckl.gamma=2,5`` is four combinations but three jobs: ``kl`` has no γ.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.experiment.words import read

Words = tuple[str, ...]
Compose = Callable[[Sequence[str]], Any]
"""Maps overrides to the composed configuration; raises Hydra's errors."""


@dataclass(frozen=True)
class Jobs:
    """The distinct jobs of a sweep."""

    overrides: list[list[str]]
    remark: str
    """One line about keys left out and jobs merged; empty if there are none."""


def for_each_job(words: Sequence[str]) -> list[str]:
    """Return the words of a sweep; ``loss.kl.weight=2`` becomes a choice of one value if some job may lack the key.

    Hydra applies single values before it makes the jobs, to a configuration that no job has; it applies choices to each
    job.

    Parameters
    ----------
    words
        The words after the verb. Without a sweep they come back unchanged.
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

    A key that some job lacks is left out of that job, provided another job has it; jobs that are then equal are merged.

    Parameters
    ----------
    combinations
        Overrides of each combination of values.
    compose
        Composes a configuration.
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
    """Return the key or group that an error says a job lacks; None for other errors."""
    from hydra.errors import ConfigCompositionException

    found = re.match(r"Could not override '([^']+)'\.", str(error))
    return found.group(1) if found and isinstance(error, ConfigCompositionException) else None


def _depth(error: Exception) -> int:
    """Return how many parts of a key exist: of several errors, the deepest explains a mistyped key best."""
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
