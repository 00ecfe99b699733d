"""Recognise files by their first bytes: supported compressions, and files that are no text.

A name says little: downloads are renamed, hubs answer with a web page, and Git LFS leaves a pointer in place of the
data. Signatures: the formats' own specifications, and https://en.wikipedia.org/wiki/List_of_file_signatures.
"""

import re
from pathlib import Path
from typing import Literal

from limbeck.config import ConfigError

Compression = Literal["gzip", "bzip2", "xz", "zstandard", "lz4"]

FIRST = 512
"""Number of bytes examined: the mark of a tar archive comes after the first 257."""

READS = "text in UTF-8, plain or compressed by gzip, bzip2, xz, zstandard or lz4"

PARQUET = b"PAR1"

_COMPRESSIONS: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "xz",  # plain LZMA, the predecessor of xz
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x04\x22\x4d\x18": "lz4",
}
_UNREAD = {
    b"\x1f\x9d": ("compressed by compress", "gzip -d {file} decompresses it"),
    b"LZIP": ("compressed by lzip", "lzip -d {file} decompresses it"),
    b"\x02\x21\x4c\x18": ("compressed by lz4 in its legacy format", "lz4 -d {file} decompresses it"),
    b"\xff\x06\x00\x00sNaPpY": ("compressed by snappy", "decompress it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it and give the file inside"),
    b"Rar!\x1a\x07": ("a rar archive", "unpack it and give the file inside"),
}
_TO_TEXT = "write its rows as text, a line each"
_BINARY = {
    PARQUET: ("Parquet", "limbeck import format=table reads Parquet; for all else write its rows as text, a line each"),
    b"ARROW1": ("an Arrow (Feather) file", _TO_TEXT),
    b"FEA1": ("a Feather file", _TO_TEXT),
    b"\xff\xff\xff\xff": ("an Arrow stream", _TO_TEXT),
    b"ORC": ("an ORC file", _TO_TEXT),
    b"Obj\x01": ("an Avro file", _TO_TEXT),
    b"\x93NUMPY": ("an array of NumPy (.npy), which has no ids", "write query, document and score, a line a pair"),
    b"SQLite format 3\x00": ("an SQLite database", "sqlite3 -separator $'\\t' {file} 'SELECT …' writes rows as text"),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _TO_TEXT),
    b"\xd0\xcf\x11\xe0": ("a file of an old office program", "save it as text separated by tabs"),
    b"%PDF-": ("a PDF", "give the data themselves"),
}
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|\([dl]p\d+\n|\}q|c(?:collections|numpy|copy_reg|__builtin__|builtins|pandas|torch)[\w.]*\n"
)
_ID = re.compile(rb"[\w.:/-]+[ \t,]")
_PAGE = re.compile(rb"\s*<(?:!doctype\s|html|head|\?xml|!--)", re.IGNORECASE)
_DOWNLOAD = "download the file itself"


def compression(start: bytes) -> Compression | None:
    """Return the compression of a file that begins with these bytes; None if there is none, or an unsupported one."""
    if re.match(rb"[\x50-\x5f]\x2a\x4d\x18", start):  # a skippable frame, with which pzstd files begin
        return "zstandard"
    if _begins_with_id(start):
        return None
    return next((name for mark, name in _COMPRESSIONS.items() if start.startswith(mark)), None)


def _begins_with_id(start: bytes) -> bool:
    """Return whether a file begins with an id and a separator: PAR1 and ORC may be ids as well as signatures."""
    return _ID.match(start) is not None and b"\0" not in start


def refuse_archive(path: Path, start: bytes) -> None:
    """Raise ``ConfigError`` for an archive of files, and for an unsupported compression.

    Parameters
    ----------
    path
        The file, for the message.
    start
        The first ``FIRST`` bytes of the file, or of its decompressed content.
    """
    if start.startswith(b"PK\x03\x04"):
        _refuse(path, *_zip(start))
    if start[257:262] == b"ustar":
        _refuse(path, "a tar archive", "unpack it and give the file inside")
    _refuse_marked(path, start, _UNREAD)


def refuse_no_text(path: Path, start: bytes) -> None:
    """Raise ``ConfigError``, naming the type of the file, unless it may be UTF-8 text; parameters as above."""
    check_text(path, start)
    refuse_archive(path, start)
    twice = compression(start)  # ``start`` is decompressed: a second compression is inside
    if twice is not None:
        _refuse(path, f"compressed twice, by {twice} inside", "decompress it once")
    _refuse_marked(path, start, _BINARY)
    if _PICKLE.match(start):
        _refuse(path, "a pickle", "limbeck import format=sbert_ce_scores reads one of plain dictionaries")
    if start[8:10] == b'{"' and start[5:8] == b"\0\0\0":
        _refuse(path, "a safetensors file", "it holds weights of a model, or embeddings")
    if _PAGE.match(start):
        _refuse(path, "a web page (HTML or XML), saved in place of the data", _DOWNLOAD)
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        _refuse(path, "a pointer of Git LFS, not the data", "git lfs pull fetches them")
    if start.startswith((b"/annex/objects/", b"../.git/annex/", b".git/annex/")):
        _refuse(path, "a pointer of git-annex, not the data", "git annex get {file} fetches them")


def check_text(path: Path, start: bytes) -> None:
    """Raise ``ConfigError`` for a file that begins like UTF-16 or UTF-32 text, with or without a byte order mark."""
    encoding = "UTF-16"
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encoding = "UTF-32"
    elif not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        even, odd = start[:64:2], start[1:64:2]
        if len(odd) < 8 or (any(even) and any(odd)) or not (any(even) or any(odd)):
            return
        encoding = "UTF-16BE" if any(odd) else "UTF-16LE"
    _refuse(path, f"text in {encoding}", f"write it as UTF-8: iconv -f {encoding} -t UTF-8 {{file}}")


def _zip(start: bytes) -> tuple[str, str]:
    """Return the type of a zip archive by its first member: NumPy arrays, weights and spreadsheets are zip files."""
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    if name.endswith(b".npy"):
        return "a file of NumPy arrays (.npz), which have no ids", "write query, document and score, a line a pair"
    if name.endswith((b"/data.pkl", b"/.format_version")):
        return "a file of torch.save", "write what it holds as text, a line each"
    if name == b"[Content_Types].xml":
        return "a spreadsheet or document of an office program", "save it as text separated by tabs"
    return "a zip archive", "unpack it and give the file inside"


def _refuse_marked(path: Path, start: bytes, marks: dict[bytes, tuple[str, str]]) -> None:
    for mark, (what, remedy) in marks.items():
        if start.startswith(mark) and not _begins_with_id(start):
            _refuse(path, what, remedy)


def _refuse(path: Path, what: str, remedy: str) -> None:
    raise ConfigError(f"{path}: this is {what}; {remedy.replace('{file}', path.name)}. Limbeck reads {READS}")
