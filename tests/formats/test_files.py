import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.formats.faults import Faults
from limbeck.formats.files import chunks, found, opened

TEXT = b"".join(b"line %d\n" % number for number in range(1, 5001))


def zstandard(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("size", [10, 1000, 10**6])
def test_chunks_hold_whole_lines_and_know_their_numbers(packer, size, tmp_path):
    path = tmp_path / "scores.txt"  # what it is called does not matter
    path.write_bytes(PACKERS[packer](TEXT))
    every = list(chunks([path], size))
    assert b"".join(chunk.data for chunk in every) == TEXT
    assert len(every) == 1 or size < len(TEXT)
    for chunk in every:
        for number, line in chunk.lines():
            assert line == b"line %d" % number


def test_blank_lines_count_but_are_no_lines(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  \ntwo")
    (chunk,) = chunks([path], 100)
    assert list(chunk.lines()) == [(1, b"one"), (4, b"two")]


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(content, tmp_path):
    path = tmp_path / "scores.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"scores\.txt: the file is empty"):
        list(chunks([path], 100))


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
def test_half_a_download_is_refused(packer, tmp_path):
    path = tmp_path / "scores.txt"
    packed = PACKERS[packer](TEXT)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ConfigError, match=r"scores\.txt: the file is damaged or was not downloaded whole"):
        list(chunks([path], 10**6))


@pytest.mark.parametrize(("name", "start", "word"), [("a.zip", b"PK\x03\x04", "zip"), ("a.tar.gz", b"\x1f\x8b", "tar")])
def test_archives_are_refused(name, start, word, tmp_path):
    path = tmp_path / name
    path.write_bytes(start + b"......")
    with pytest.raises(ConfigError, match=f"this is a {word} archive; unpack it"):
        opened(path)


def test_names_and_patterns(tmp_path):
    for name in ("b.txt", "a.txt", "c.tsv"):
        (tmp_path / name).touch()
    files = found([str(tmp_path / "c.tsv"), str(tmp_path / "*.txt")])
    assert [path.name for path in files] == ["c.tsv", "a.txt", "b.txt"]
    with pytest.raises(ConfigError, match=r"path: there is no file .*d\.txt"):
        found([str(tmp_path / "d.txt")])
    with pytest.raises(ConfigError, match=r"is a folder; give its files: path='.*/\*'"):
        found([str(tmp_path)])
    with pytest.raises(ConfigError, match="at least one file"):
        found([])


def test_faults_stop_or_are_counted(tmp_path):
    with pytest.raises(ConfigError) as told:
        Faults("error").add(tmp_path / "a.txt", 7, "has 3 columns", text=b"a b \xff" + b"x" * 500, expects="a b c d")
    first, *more = str(told.value).split("\n")
    assert first == f"{tmp_path}/a.txt:7: has 3 columns"
    assert more[0].startswith("it reads: 'a b \\\\xffxxx")
    assert len(more[0]) < 200
    assert more[1:] == ["it should be: a b c d", "on_error=skip leaves such lines out and counts them"]
    skipped = Faults("skip")
    for line in range(20, 0, -1):
        skipped.add(tmp_path / "a.txt", line, "is wrong")
    assert skipped.notes()["skipped"] == 20
    assert skipped.places == [f"{tmp_path}/a.txt:{line}: is wrong" for line in range(1, 6)]
    with pytest.raises(ValueError, match="on_error must be error or skip"):
        Faults("ignore")  # pyright: ignore[reportArgumentType]
