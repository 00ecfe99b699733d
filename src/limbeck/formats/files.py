"""Read files, compressed or not, in blocks that end with a line."""

import bz2
import glob
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.formats.kinds import FIRST, Compression, compression, refuse_archive, refuse_no_text
from limbeck.progress import Step

BLOCK = 8 << 20
"""Bytes read at once for compiled parsers. Twice as fast as 64 MB, as each block reuses the last one's memory."""

SMALL_BLOCK = 8 << 20
"""Bytes read at once for lines that Python parses: its objects take many times the memory of the text."""

_BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error, pa.ArrowException)


class Chunk(NamedTuple):
    """Whole lines of a file."""

    path: Path
    line: int
    """Number of the first line, from 1."""
    data: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and text of each line that is not blank, without its line break."""
        for number, line in enumerate(io.BytesIO(self.data), self.line):  # not all of them at once
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if line and not line.isspace():
                yield number, line


def chunks(paths: Iterable[Path], size: int) -> Iterator[Chunk]:
    """Yield the content of files in chunks of about ``size`` bytes, each ending with a line.

    Raises
    ------
    ConfigError
        A file is empty, is no text, or is a damaged compressed file.
    """
    for path in paths:
        line, blank = 1, True
        label = f"reading {path.name}"
        with (
            path.open("rb") as raw,
            opened_text(path, raw) as file,
            Step(label, path.stat().st_size, "B") as step,
        ):
            while data := _read(path, file, size):
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that some editors write
                blank = blank and not data.strip()
                yield Chunk(path, line, data)
                line += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
                step.advance(raw.tell() - step.done)
        if blank:
            raise ConfigError(f"{path}: the file is empty")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number, from 1, and text of each line of a file, compressed or not; an empty file has no lines.

    Raises
    ------
    ConfigError
        The file is no text, or is a damaged compressed file.
    """
    with opened_text(path) as file:
        try:
            yield from enumerate(file, 1)
        except _BROKEN as error:
            raise _damaged(path, error) from error


def _read(path: Path, file: Any, size: int) -> bytes:
    try:
        data = file.read(size)
        return data + file.readline() if data and data[-1:] != b"\n" else data
    except _BROKEN as error:
        raise _damaged(path, error) from error


def opened(path: Path, raw: IO[bytes] | None = None) -> Any:
    """Open a file for reading bytes; gzip, bzip2, xz, zstandard and lz4 are recognised by content, not name.

    Parameters
    ----------
    path
        The file.
    raw
        The same file, opened: its position shows how much has been read.

    Raises
    ------
    ConfigError
        It is an archive of files, or its compression is not supported.
    """
    start = magic(path)
    refuse_archive(path, start)
    if {".tar", ".tgz"} & set(path.suffixes):  # by name: the content of a damaged archive may not be recognisable
        raise ConfigError(f"{path}: this is a tar archive; unpack it and give the file inside")
    file = _decompressed(path, compression(start), raw)
    refuse_archive(path, _peek(path, file))
    return file


def opened_text(path: Path, raw: IO[bytes] | None = None) -> Any:
    """Open a text file for reading bytes, decompressed; parameters as for ``opened``.

    Raises
    ------
    ConfigError
        The content is no UTF-8 text; the message names what it is.
    """
    refuse_no_text(path, b"" if compression(magic(path)) else magic(path))
    file = opened(path, raw)
    try:
        refuse_no_text(path, _peek(path, file))
    except ConfigError:
        file.close()
        raise
    return file


def _decompressed(path: Path, how: Compression | None, raw: IO[bytes] | None) -> Any:
    source = raw or path
    match how:
        case None:
            return raw or path.open("rb")
        case "gzip":
            return gzip.open(source)
        case "bzip2":
            return bz2.open(source)
        case "xz":
            return lzma.open(source)
        case "zstandard":
            return _by_arrow(path, "zstd", raw)
        case "lz4":
            return _by_arrow(path, "lz4", raw)


def _by_arrow(path: Path, codec: str, raw: IO[bytes] | None) -> Any:
    if not pa.Codec.is_available(codec):
        raise ConfigError(f"{path}: this pyarrow cannot read {codec}; decompress it with: {codec} -d {path.name}")
    stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)) if raw is None else pa.PythonFile(raw, "r"), codec)
    return io.BufferedReader(stream)


def _peek(path: Path, file: Any) -> bytes:
    """Return the first bytes of a file's content, decompressed, without consuming them."""
    try:
        return file.peek(FIRST)[:FIRST]
    except _BROKEN as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ConfigError:
    how = compression(magic(path)) or "not compressed"
    return ConfigError(f"{path}: the file is damaged or was not downloaded whole ({how}: {error})")


def magic(path: Path) -> bytes:
    """Return the first bytes of a file, which identify its type."""
    with path.open("rb") as file:
        return file.read(FIRST)


def _is_data(path: Path) -> bool:
    """Return whether a path in a folder is a Parquet or JSON lines file; hidden folders of downloads are skipped."""
    return re.search(r"\.(parquet|jsonl(\.\w+)?)$", path.name) is not None and not any(
        part.startswith(".") for part in path.parts
    )


def found(names: Iterable[str]) -> list[Path]:
    """Return the files that names or patterns (``folder/*.parquet``) match, in the order given.

    The folder of a score store gives its ``meta.json``; another folder gives the Parquet and JSON lines files in it and
    below, as ``hf download`` leaves them.

    Raises
    ------
    ConfigError
        There is no such file, or the folder has no such files.
    """
    result: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if (path / "meta.json").is_file():  # a score store
            result.append(path / "meta.json")
            continue
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if _is_data(file.relative_to(path)) and file.is_file()]
            if not inside:
                raise ConfigError(f"path: {path} is a folder; give its files: path='{path}/*'")
            result += inside
            continue
        if path.is_file():
            result.append(path)
            continue
        matches = [Path(match) for match in sorted(glob.glob(str(path))) if Path(match).is_file()]
        if not matches:
            raise ConfigError(f"path: there is no file {path}")
        result += matches
    if not result:
        raise ConfigError("path must name at least one file")
    return result
