"""Error messages for exhausted memory or disk space, with remedies."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory")
"""Messages of torch's allocators, in a plain ``RuntimeError``; reading the message spares importing torch."""


@contextlib.contextmanager
def explained(folder: Path, sizes: Mapping[str, object]) -> Iterator[None]:
    """Replace errors of exhausted disk space and memory by errors that name a remedy.

    Parameters
    ----------
    folder
        Folder that the training writes to.
    sizes
        Configuration keys that memory grows with → current value (``sizes``).

    Raises
    ------
    ConfigError
        Disk space or memory is exhausted.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if _full(error):
            raise ConfigError(
                f"no space is left to write to {folder}: training stops; its last checkpoint is intact. Free some "
                "space (or set paths.runs to another disk) and run the same command again to resume"
            ) from error
        if out_of_memory(error):
            first = (str(error).strip() or type(error).__name__).split("\n")[0]
            now = ", ".join(f"{key} (now {value})" for key, value in sizes.items())
            raise ConfigError(
                f"out of memory while training: {first}\nLower one of: {now}.\nDividing sampler.batch_size by N with "
                "trainer.accumulate=N keeps the updates of losses over single queries; trainer.chunk=N keeps those of "
                "losses over the whole batch; backbone.gradient_checkpointing=true needs less memory and more time."
            ) from error
        raise


def sizes(config: Mapping[str, Any]) -> dict[str, object]:
    """Return the configuration keys that training memory grows with → current value; the first to lower comes first.

    Parameters
    ----------
    config
        Configuration of ``limbeck train``, as plain containers.
    """
    groups = {
        "sampler": ("batch_size", "negatives"), "student": ("document_length",), "trainer": ("chunk",),
    }  # fmt: skip
    given = {f"{group}.{key}": config[group].get(key) for group, keys in groups.items() for key in keys}
    return {key: value for key, value in given.items() if value is not None}


def _full(error: BaseException) -> bool:
    return any(isinstance(each, OSError) and each.errno in _NO_SPACE for each in _chain(error))


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is exhausted."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes; torch wraps errors of files."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
