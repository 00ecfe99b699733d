"""Reading a pickle without trusting it: it can build dictionaries, texts and numbers, and nothing else.

A pickle is a program. Classes and functions come into it through one door, ``find_class``, which is shut here; so it
cannot call anything, and what is left are plain values, whose types are looked at before use.
"""

import pickle
from pathlib import Path
from typing import Any, NoReturn

from limbeck.config import ConfigError
from limbeck.formats.files import opened
from limbeck.formats.pickle_remedies import of_classes, of_shape

_DANGEROUS = "Do not load it with anything else; ask for the scores as TSV, JSONL or Parquet (format=table)"


class _Refused(pickle.UnpicklingError):
    pass


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _Refused(f"the persistent object {pid!r}")


def load(path: Path) -> dict[Any, Any]:
    """Return the dictionary in a pickle, which may be compressed.

    Raises
    ------
    ConfigError
        The pickle wants to build something other than plain values (the message says what), is no dictionary, or
        is damaged.
    """
    with opened(path) as file:
        try:
            found = _Plain(file).load()
        except _Refused as error:
            raise ConfigError(
                f"{path}: refused: the pickle wants to use {error}, where there should be nothing but dictionaries, "
                f"texts and numbers. {of_classes(path) or _DANGEROUS}"
            ) from None
        except Exception as error:  # a damaged pickle can raise anything
            raise ConfigError(f"{path}: this is neither Parquet nor a whole pickle ({error})") from error
    if type(found) is dict and not found:
        raise ConfigError(f"{path}: the file is empty")
    remedy = of_shape(path, found)
    if type(found) is not dict or remedy:
        raise ConfigError(
            f"{path}: refused: the pickle holds a {type(found).__name__}, where a dictionary "
            f"{{query: {{document: score}}}} should be. {remedy or ''}".rstrip()
        )
    return found
