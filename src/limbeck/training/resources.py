"""Memory or disk at its end, in words that say what to do."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory")
"""What torch's allocators say, in errors that are ``RuntimeError``; torch is not imported to look at others."""


@contextlib.contextmanager
def explained(folder: Path, sizes: Mapping[str, object]) -> Iterator[None]:
    """Turn errors of a full disk and of memory into messages.

    Parameters
    ----------
    folder
        Where the training writes.
    sizes
        As ``sizes`` gives them.

    Raises
    ------
    ConfigError
        Instead of either.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if _full(error):
            raise ConfigError(
                f"no space is left to write to {folder}: the training stops, and its last checkpoint is whole. Make "
                "room there (or set paths.runs elsewhere) and give the same command again: it goes on"
            ) from error
        if out_of_memory(error):
            first = (str(error).strip() or type(error).__name__).split("\n")[0]
            now = ", ".join(f"{key} (now {value})" for key, value in sizes.items())
            raise ConfigError(
                f"out of memory while training: {first}\nLower one of: {now}.\nA sampler.batch_size divided by N with "
                "trainer.accumulate=N makes the same updates of losses of single queries; trainer.chunk=N does so of "
                "losses over the whole batch; backbone.gradient_checkpointing=true takes time instead of memory."
            ) from error
        raise


def sizes(config: Mapping[str, Any]) -> dict[str, object]:
    """Return what memory grows with while a student trains: the key of each and what it is, first what to lower first.

    Parameters
    ----------
    config
        Of ``limbeck train``, as plain containers.
    """
    groups = {
        "sampler": ("batch_size", "negatives"), "student": ("document_length",), "trainer": ("chunk",),
    }  # fmt: skip
    given = {f"{group}.{key}": config[group].get(key) for group, keys in groups.items() for key in keys}
    return {key: value for key, value in given.items() if value is not None}


def _full(error: BaseException) -> bool:
    return any(isinstance(each, OSError) and each.errno in _NO_SPACE for each in _chain(error))


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is at its end."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error and those it came of: torch wraps what a file raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
