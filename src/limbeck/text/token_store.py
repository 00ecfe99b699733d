"""Token ids (without special tokens) of all texts of a collection on disk, memory-mapped.

A store is a folder:

    tokens.json     version, type of the token ids, number of texts and tokens
    ids.bin         token ids of all texts, in the order of the collection
    keys.bin        uint64 keys of the texts' ids, sorted; see ``limbeck.scores.keys``
    starts.bin      int64, in the order of the keys: position of the text's first token in ids.bin
    lengths.bin     uint16, in the order of the keys: number of tokens of the text

Opening maps the files; processes that open the same store share its pages. Texts with equal keys (a repeated id, or a
hash collision) are left out of the index, and count as not stored.

While a store is written, two further files have keys and lengths in the order of the collection. They record the
progress, so that a killed process loses only the current block.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import room
from limbeck.ahead import ahead
from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.progress import Step
from limbeck.scores.keys import Keys, key_list
from limbeck.text.tokenizer import TextTokenizer, TokenIds

log = logging.getLogger(__name__)

MOST = 8192
"""Maximum number of stored tokens of a text."""

VERSION = 1

_META, _IDS, _KEYS, _STARTS, _LENGTHS = "tokens.json", "ids.bin", "keys.bin", "starts.bin", "lengths.bin"

_KEYS_SO_FAR, _LENGTHS_SO_FAR = "keys.part", "lengths.part"

_BLOCK_TEXTS, _BLOCK_CHARACTERS = 8192, 4_000_000
"""Maximum texts and characters of a block, as a tokenizer needs some hundred bytes of memory per token."""

_INDEXED = 18
"""Bytes on disk per text, in addition to its tokens: key, start, length."""

Text = tuple[str, str]
"""Id and text."""


class TokenStore:
    """A complete store, opened for reading.

    Pickling saves only the path; another process maps the files again.

    Parameters
    ----------
    path
        Folder of the store.
    left
        Cut long texts on the left, as some tokenizers do.

    Raises
    ------
    ConfigError
        A file is missing or damaged.
    """

    def __init__(self, path: Path, *, left: bool = False) -> None:
        self.path = path
        self._left = left
        try:
            meta = json.loads((path / _META).read_text(encoding="utf-8"))
            texts, tokens, kind = int(meta["texts"]), int(meta["tokens"]), np.dtype(meta["dtype"])
            if meta["version"] != VERSION or kind.kind not in "iu":
                raise ValueError(f"version {meta['version']}, ids of type {kind}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path / _META, f"it does not describe a token store ({error})") from error
        self._ids = _mapped(path / _IDS, kind, tokens)
        self._keys: Keys = _mapped(path / _KEYS, np.dtype("<u8"), texts)
        self._starts = _mapped(path / _STARTS, np.dtype("<i8"), texts)
        self._lengths = _mapped(path / _LENGTHS, np.dtype("<u2"), texts)

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path, self._left)

    def rows(self, ids: Sequence[str], length: int) -> list[TokenIds | None]:
        """Return the token ids of texts, cut to ``length``; None for texts that are not stored.

        Raises
        ------
        ConfigError
            The files are damaged.
        """
        assert length <= MOST
        wanted = key_list(ids)
        if not len(self):
            return [None] * len(wanted)
        places = np.minimum(self._keys.searchsorted(wanted), len(self) - 1)
        starts, whole = self._starts[places], self._lengths[places].astype(np.int64)
        if len(places) and not (starts.min() >= 0 and (starts + whole).max() <= len(self._ids)):
            raise _damaged(self.path / _STARTS, "it points outside of the tokens")
        cut = np.minimum(whole, length)
        if self._left:
            starts = starts + (whole - cut)
        known = self._keys[places] == wanted
        ends = (starts + cut).tolist()
        rows: list[TokenIds | None] = [self._ids[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]
        return rows if known.all() else [row if here else None for row, here in zip(rows, known.tolist(), strict=True)]


def _opened(path: Path, left: bool) -> TokenStore:
    return TokenStore(path, left=left)


def _mapped(path: Path, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    size = path.stat().st_size if path.is_file() else -1
    if size != count * kind.itemsize:
        raise _damaged(path, f"it has {max(size, 0):,} bytes instead of {count * kind.itemsize:,}")
    if not count:
        return np.empty(0, dtype=kind)
    # A plain array: slicing np.memmap is several times slower.
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))


def _damaged(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path}: {what}; delete the folder {path.parent} and run again to rebuild it")


def write(
    folder: Path,
    texts: Iterable[Text],
    tokenizer: TextTokenizer,
    *,
    prefix: str = "",
    suffix: str = "",
    total: int,
    what: str,
) -> None:
    """Tokenise texts into a folder, in blocks; memory grows by some 40 bytes per text.

    Parameters
    ----------
    folder
        Target folder: empty, or left by a killed process that wrote the same store.
    texts
        (id, text) of the whole collection.
    tokenizer
        The tokenizer.
    prefix
        Text before each text.
    suffix
        Text after each text.
    total
        Number of texts.
    what
        Name of the texts, for the progress display.
    """
    start = time.perf_counter()
    kind = tokenizer.dtype.newbyteorder("<")
    done = _so_far(folder, kind)

    def needs() -> str:
        if not step.done:
            return ""
        disk = ids_file.tell() / (done + step.done) * total + _INDEXED * total
        return room.words(disk=disk, folder=folder.parent, instead="set paths.cache to a folder on another disk")

    with (
        (folder / _IDS).open("ab") as ids_file,
        (folder / _LENGTHS_SO_FAR).open("ab") as lengths_file,
        (folder / _KEYS_SO_FAR).open("ab") as keys_file,
        Step(f"tokenising {what}", total - done, needs=needs) as step,
    ):
        for ids, rows in _tokenised(_blocks(islice(texts, done, None)), tokenizer, prefix, suffix):
            lengths = np.fromiter(map(len, rows), dtype="<u2", count=len(rows))
            tokens = np.concatenate(rows).astype(kind, copy=False)
            # Write keys last, so that a text with a key is complete.
            for file, values in ((ids_file, tokens), (lengths_file, lengths), (keys_file, key_list(ids))):
                file.write(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
                _to_disk(file)
            step.advance(len(ids))
    keys, lengths = np.fromfile(folder / _KEYS_SO_FAR, "<u8"), np.fromfile(folder / _LENGTHS_SO_FAR, "<u2")
    tokens, count = int(lengths.sum(dtype=np.int64)), len(keys)
    kept = _index(folder, keys, lengths)
    write_json(folder / _META, {"version": VERSION, "dtype": kind.str, "texts": kept, "tokens": tokens})
    for name in (_KEYS_SO_FAR, _LENGTHS_SO_FAR):
        (folder / name).unlink()
    seconds = time.perf_counter() - start
    log.info("%s: %s texts, %s tokens, %.0f texts/s", what, f"{count:,}", f"{tokens:,}", (count - done) / seconds)


def _so_far(folder: Path, kind: np.dtype[Any]) -> int:
    """Return the number of texts that a killed process has completed; remove its incomplete rest."""
    keys, lengths, ids = folder / _KEYS_SO_FAR, folder / _LENGTHS_SO_FAR, folder / _IDS
    for path in (keys, lengths, ids):
        path.touch()
    texts = min(keys.stat().st_size // 8, lengths.stat().st_size // 2)
    tokens = int(np.fromfile(lengths, "<u2", texts).sum(dtype=np.int64))
    for path, size in ((keys, 8 * texts), (lengths, 2 * texts), (ids, kind.itemsize * tokens)):
        if path.stat().st_size > size:
            os.truncate(path, size)
    return texts


def _index(folder: Path, keys: Keys, lengths: NDArray[np.uint16]) -> int:
    """Write keys, starts and lengths in the order of the keys; return their number."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    twice = np.zeros(len(keys) + 1, dtype=bool)
    np.equal(ordered[1:], ordered[:-1], out=twice[1:-1])
    once = ~(twice[1:] | twice[:-1])
    order, ordered = order[once], ordered[once]
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    for name, kind, values in (
        (_KEYS, "<u8", ordered),
        (_STARTS, "<i8", starts[order]),
        (_LENGTHS, "<u2", lengths[order]),
    ):
        with (folder / name).open("wb") as file:
            file.write(values.astype(kind, copy=False).data)
            _to_disk(file)
    return len(order)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _blocks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Split a stream of texts into blocks of limited size."""
    block: list[Text] = []
    characters = 0
    for each in texts:
        block.append(each)
        characters += len(each[1])
        if len(block) == _BLOCK_TEXTS or characters >= _BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _tokenised(
    blocks: Iterable[list[Text]], tokenizer: TextTokenizer, prefix: str, suffix: str
) -> Iterator[tuple[list[str], list[TokenIds]]]:
    """Yield ids and rows of blocks; reading, tokenising (on all cores) and writing of different blocks overlap."""

    def work(block: list[Text]) -> tuple[list[str], list[TokenIds]]:
        return [name for name, _ in block], tokenizer.plain([prefix + text + suffix for _, text in block], MOST)

    yield from ahead(work(block) for block in ahead(blocks))
