"""64-bit keys of ids, so that a score takes 12 bytes for ids of any length.

The key of an id that is a canonical decimal number (no sign, no leading zero, at most 18 digits), as in MS MARCO, is
the number. Other ids are hashed to 63 bits, with the top bit set. A store has a table of the hashed ids, to convert
keys to ids and to detect collisions.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

pc: Any = pyarrow.compute
"""Arrow's compute functions, as Any because type checkers do not know them."""

Keys = NDArray[np.uint64]
Ids = NDArray[np.int64] | pa.Array | Sequence[str]

ID = pa.large_string()
"""Arrow's type of ids. Its plain string type is limited to 2³¹ characters per array (71 million ids of 30 characters);
beyond that, ``pyarrow.array`` returns several chunks."""

LARGEST = 10**18
"""Numbers from here on are hashed, like other ids."""

NO_KEY = LARGEST
"""Key of padding; no id has it, neither as uint64 nor as int64."""

_LISTS = 2000
"""Number of lists whose document keys are computed together."""

_HASHED = 1 << 63
_DIGITS = 18
_CANONICAL = r"^(0|[1-9][0-9]{0,17})\z"


def key(identifier: str) -> int:
    """Return the key of one id."""
    if identifier.isdigit() and identifier.isascii() and len(identifier) <= _DIGITS and (
        identifier[0] != "0" or identifier == "0"
    ):  # fmt: skip
        return int(identifier)
    return _HASHED | int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")


def key_list(identifiers: Sequence[str]) -> Keys:
    """Return the keys of a few ids (``keys`` is faster for many)."""
    return np.fromiter(map(key, identifiers), dtype=np.uint64, count=len(identifiers))


def signed_keys(identifiers: Sequence[str]) -> NDArray[np.int64]:
    """Return the keys of a few ids as int64, for tensors: the same 64 bits."""
    return key_list(identifiers).view(np.int64)


def keys(identifiers: Ids) -> tuple[Keys, pa.Table | None]:
    """Return the keys of many ids, and a table (key, id) of the distinct hashed ids, or None if there are none.

    Raises
    ------
    ValueError
        A number is negative or has more than 18 digits; pass such ids as strings.
    """
    if isinstance(identifiers, np.ndarray):
        if len(identifiers) and not 0 <= int(identifiers.min()) <= int(identifiers.max()) < LARGEST:
            raise ValueError(
                f"ids given as numbers must have no sign and at most {_DIGITS} digits; pass strings instead"
            )
        return identifiers.astype(np.int64, copy=False).view(np.uint64), None
    array: Any = identifiers if isinstance(identifiers, pa.Array) else pa.array(identifiers, type=ID)
    encoded = array.dictionary_encode()
    distinct, places = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
    canonical = pc.match_substring_regex(distinct, pattern=_CANONICAL).to_numpy(zero_copy_only=False).astype(bool)
    values = np.empty(len(distinct), dtype=np.uint64)
    if canonical.any():
        values[canonical] = pc.cast(distinct.filter(pa.array(canonical)), pa.int64()).to_numpy().astype(np.uint64)
    others = distinct.filter(pa.array(~canonical))
    if not len(others):
        return values[places], None
    values[~canonical] = key_list(others.to_pylist())
    return values[places], pa.table({"key": values[~canonical], "id": others})


def keys_of_lists(
    query_ids: Sequence[str], offsets: NDArray[np.int64], document_ids: pa.Array
) -> Iterator[tuple[int, slice, Keys]]:
    """Yield for each query its key, the slice of its documents in their column, and their keys."""
    for start in range(0, len(query_ids), _LISTS):
        bounds = offsets[start : start + _LISTS + 1].tolist()
        found, _ = keys(document_ids[bounds[0] : bounds[-1]])
        queries = key_list(query_ids[start : start + _LISTS]).tolist()
        for query, (first, last) in zip(queries, pairwise(bounds), strict=True):
            yield query, slice(first, last), found[first - bounds[0] : last - bounds[0]]


def texts(found: Keys, table_keys: Keys, table_ids: pa.Array) -> list[str]:
    """Convert keys to ids, with the table of hashed ids sorted by key."""
    hashed = (found & np.uint64(_HASHED)) != 0
    result = [str(number) for number in found.tolist()]
    if hashed.any():
        places = np.searchsorted(table_keys, found[hashed])
        for position, identifier in zip(np.flatnonzero(hashed), table_ids.take(places).to_pylist(), strict=True):
            result[position] = identifier
    return result
