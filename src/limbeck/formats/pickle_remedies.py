"""Advice for a pickle with more than dictionaries, texts and numbers: a command that writes it as text.

The command loads the pickle, which is a program. It is shown only if everything the pickle uses is known to build data,
and addressed to those who trust its author.
"""

import pickle
import shlex
from pathlib import Path
from typing import Any, Self

from limbeck.formats.files import magic, opened
from limbeck.formats.kinds import compression

_BUILDERS = {
    "numbers of NumPy": (
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct", "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
        "numpy.dtype", "numpy.ndarray", "_codecs.encode",
    ),
    "a defaultdict": ("collections.defaultdict",),
    "an OrderedDict": ("collections.OrderedDict",),
    "a Counter": ("collections.Counter",),
    "tensors of PyTorch": (
        "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch.storage._load_from_bytes",
        "torch._tensor._rebuild_from_type_v2", "torch.Tensor", "torch.FloatStorage", "torch.DoubleStorage",
        "torch.HalfStorage", "torch.BFloat16Storage", "torch.LongStorage",
    ),
    "decimal fractions": ("decimal.Decimal",),
    "sets": ("builtins.set", "__builtin__.set", "builtins.frozenset"),
    "a table of pandas": ("builtins.slice", "builtins.bytearray"),
    "plain types": tuple(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
        "dict", "list", "tuple", "float", "int", "str",
    )),
}  # fmt: skip
"""Apparent content of a pickle → the names it uses to build that."""
_KNOWN = {name: what for what, names in _BUILDERS.items() for name in names}

_PANDAS = ("pandas.", "pyarrow.lib.")

_OPENERS = {"gzip": "gzip.open({})", "bzip2": "bz2.open({})", "xz": "lzma.open({})", None: "open({}, 'rb')"}
_BY_ARROW = {"zstandard": "zstd", "lz4": "lz4"}

_NESTED = "for q, of in {}.items() for d, s in of.items()"
_LISTS = "for q, of in {}.items() for d, s in of"
_FLAT = "for (q, d), s in {}.items()"
_TRIPLES = "for q, d, s in {}"


def of_classes(path: Path) -> str | None:
    """Return the apparent content of a pickle and a command that writes it as text; None if it uses unknown names."""
    used = _used(path)
    if used is None:
        return None
    if any(name.startswith(_PANDAS) for name in used):
        code = f"{_loaded(path)}.to_csv('scores.tsv', sep='\\t', index=False)"
        return _command(path, "a table of pandas", code, target="")
    held = dict.fromkeys(_KNOWN[name] for name in used)
    named = [what for what in held if what != "plain types"] or list(held)
    return _command(path, " and ".join(named), _printed(path, _NESTED))


def of_shape(path: Path, found: Any) -> str | None:
    """Return which plain values a pickle holds and a command that writes them as text; None if that is unclear."""
    if isinstance(found, dict):
        key, value = next(iter(found.items()))
        if isinstance(key, tuple) and len(key) == 2 and isinstance(value, int | float):
            return _command(path, "pairs (query, document) as keys", _printed(path, _FLAT))
        if _rows(value, 2):
            return _command(path, "lists of pairs (document, score)", _printed(path, _LISTS))
    elif _rows(found, 3):
        return _command(path, "triples (query, document, score)", _printed(path, _TRIPLES))
    return None


def _rows(found: Any, width: int) -> bool:
    """Return whether an object is a list of lists of ``width`` values."""
    if not isinstance(found, list | tuple) or not found:
        return False
    return all(isinstance(each, list | tuple) and len(each) == width for each in found)


def _command(path: Path, what: str, code: str, target: str = " > scores.tsv") -> str:
    modules = [name for name in ("gzip", "bz2", "lzma", "pyarrow") if f"{name}." in code]
    script = f"import {', '.join([*modules, 'pickle'])}; {code}"
    return (
        f"It seems to hold {what}. If you trust the author of {path.name}, write it as text, and import that:\n"
        f"  python -c {shlex.quote(script)}{target}\n"
        "  limbeck import format=table path=scores.tsv teacher.name=… kind=… out=…"
    )


def _printed(path: Path, loop: str) -> str:
    return f"[print(q, d, float(s.item() if hasattr(s, 'item') else s), sep='\\t') {loop.format(_loaded(path))}]"


def _loaded(path: Path) -> str:
    """Return Python code that loads a pickle, compressed or not."""
    how, name = compression(magic(path)), repr(str(path))
    if how in _BY_ARROW:
        return f"pickle.loads(pyarrow.input_stream({name}, compression={_BY_ARROW[how]!r}).read())"
    return f"pickle.load({_OPENERS[how].format(name)})"


class _StandIn:
    """Replaces every object that a pickle builds; accepts any call and does nothing."""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        del values, named
        return object.__new__(cls)

    def __init__(self, *values: Any, **named: Any) -> None: ...
    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, value: Any) -> None:
        """Ignore a value."""

    def extend(self, values: Any) -> None:
        """Ignore values."""


class _Listing(pickle.Unpickler):
    """Lists the names that a pickle uses, and gives it stand-ins for all of them."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.used: dict[str, None] = {}

    def find_class(self, module: str, name: str, /) -> type[_StandIn]:
        whole = f"{module}.{name}"
        if whole not in _KNOWN and not whole.startswith(_PANDAS):
            raise pickle.UnpicklingError(whole)
        self.used[whole] = None
        return _StandIn


def _used(path: Path) -> list[str] | None:
    """Return the names that a pickle uses; None if some are unknown, or the pickle is damaged."""
    with opened(path) as file:
        listing = _Listing(file)
        try:
            listing.load()
        except Exception:  # a damaged pickle can raise anything
            return None
    return list(listing.used)
