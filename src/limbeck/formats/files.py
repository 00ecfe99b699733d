"""Reading files as they are: compressed or not, in blocks that end with a line."""

import bz2
import glob
import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError

BLOCK = 16 << 20
"""Bytes read at once where lines are parsed by compiled code. Twice as fast as with 64 MB: the memory of one block
serves the next."""

SMALL_BLOCK = 8 << 20
"""Bytes read at once where Python parses line by line: its objects take many times the memory of the text."""

PARQUET = b"PAR1"

_BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error, pa.ArrowException)
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z"}


class Chunk(NamedTuple):
    """Whole lines of a file."""

    path: Path
    line: int
    """Number of the first line, from 1."""
    data: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and text of each line that is not blank, without the line break."""
        for number, line in enumerate(self.data.split(b"\n"), self.line):
            line = line.removesuffix(b"\r")
            if line and not line.isspace():
                yield number, line


def chunks(paths: Iterable[Path], size: int) -> Iterator[Chunk]:
    """Yield the content of files in chunks of about ``size`` bytes, each ending with a line.

    Raises
    ------
    ConfigError
        A file holds nothing, or is compressed and damaged.
    """
    for path in paths:
        line, blank = 1, True
        with opened(path) as file:
            while data := _read(path, file, size):
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")  # what some editors put before UTF-8
                blank = blank and not data.strip()
                yield Chunk(path, line, data)
                line += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
        if blank:
            raise ConfigError(f"{path}: the file is empty")


def _read(path: Path, file: Any, size: int) -> bytes:
    try:
        data = file.read(size)
        return data + file.readline() if data and data[-1:] != b"\n" else data
    except _BROKEN as error:
        raise ConfigError(f"{path}: the file is damaged or was not downloaded whole ({error})") from error


def opened(path: Path) -> Any:
    """Open a file for reading bytes, decompressing gzip, bzip2, xz and zstandard, whatever the file is called.

    Raises
    ------
    ConfigError
        It is an archive of files, text in UTF-16, or its compression cannot be read here.
    """
    start = magic(path)
    check_text(path, start)
    for mark, name in _ARCHIVES.items():
        if start.startswith(mark):
            raise ConfigError(f"{path}: this is a {name} archive; unpack it and give the file inside")
    if {".tar", ".tgz"} & set(path.suffixes):
        raise ConfigError(f"{path}: this is a tar archive; unpack it and give the file inside")
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start.startswith(b"BZh"):
        return bz2.open(path)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.open(path)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstandard(path)
    return path.open("rb")


def _zstandard(path: Path) -> Any:
    if not pa.Codec.is_available("zstd"):
        raise ConfigError(f"{path}: this pyarrow cannot read zstandard; decompress it with: zstd -d {path.name}")
    stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return io.BufferedReader(stream)


def check_text(path: Path, start: bytes) -> None:
    """Raise ``ConfigError`` for a file that begins as text in UTF-16 does."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: this is text in UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 {path.name}")


def magic(path: Path) -> bytes:
    """Return the first bytes of a file, which tell what it is."""
    with path.open("rb") as file:
        return file.read(8)


def found(names: Iterable[str]) -> list[Path]:
    """Return the files that names or patterns (``folder/*.parquet``) stand for, in the order given.

    The folder of a score store stands for its ``meta.json``.

    Raises
    ------
    ConfigError
        There is no such file, or it is a folder.
    """
    result: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if (path / "meta.json").is_file():  # a score store
            result.append(path / "meta.json")
            continue
        if path.is_dir():
            raise ConfigError(f"path: {path} is a folder; give its files: path='{path}/*'")
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
