"""Files that are not what a reader takes: read where they can be, else named by what they are."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.folder import FolderDoc, documents
from limbeck.evaluation.qrels import read_qrels
from limbeck.evaluation.runs import read_run
from limbeck.formats.files import chunks, lines

RUN = b"q Q0 d 1 2.5 t\n"
TABLE = pa.table({"query": ["q"], "document": ["d"], "score": [1.0]})


def arrow(codec):
    def pack(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as out:
            out.write(data)
        return sink.getvalue().to_pybytes()

    return pack


PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstandard": arrow("zstd"),
    "pzstd": lambda data: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + arrow("zstd")(data),
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_files_are_read_wherever_text_is(packer, tmp_path):
    path = tmp_path / "corpus.jsonl"
    pack = PACKERS[packer]
    path.write_bytes(pack(RUN))
    assert read_run(path)["q"].ids == ["d"]
    path.write_bytes(pack(b"q 0 d 1\n"))
    assert read_qrels(path) == {"q": {"d": 1}}
    path.write_bytes(pack(b'{"_id": "d", "text": "cats"}\n'))
    assert list(documents(tmp_path, Artefacts(tmp_path / "cache"), "0").docs_iter()) == [FolderDoc("d", "", "cats")]
    path.write_bytes(pack(RUN * 5000)[:-20])
    how = rf"\({'xz' if packer == 'lzma' else 'zstandard' if packer == 'pzstd' else packer}: "
    with pytest.raises(ConfigError, match=f"the file is damaged or was not downloaded whole {how}"):
        list(chunks([path], 100))
    with pytest.raises(ConfigError, match="the file is damaged or was not downloaded whole"):
        list(lines(path))


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz", "zstandard", "lz4"])
def test_files_in_several_pieces(packer, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(PACKERS[packer](RUN) + PACKERS[packer](RUN.replace(b" d ", b" e ")))
    assert read_run(path)["q"].ids == ["e", "d"]


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def archive(**members):
    def write(buffer):
        with zipfile.ZipFile(buffer, "w") as made:
            for name, content in members.items():
                made.writestr(name, content)

    return written(write)


def tar(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(tarfile.TarInfo("run.trec"))


def stream(buffer):
    with pa.ipc.new_stream(buffer, TABLE.schema) as made:
        made.write_table(TABLE)


def database():
    with sqlite3.connect(":memory:") as made:
        made.execute("create table t (q)")
        return made.serialize()


PAGE = b"\n <!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"
KINDS = {
    "Parquet": (written(lambda file: pq.write_table(TABLE, file)), "Parquet; limbeck import format=table reads"),
    "a stub of Parquet": (b"PAR1xxxx", "Parquet; limbeck import format=table reads"),
    "feather": (written(lambda file: pyarrow.feather.write_feather(TABLE, file)), "an Arrow"),
    "an Arrow stream": (written(stream), "an Arrow stream"),
    "npy": (written(lambda file: np.save(file, np.ones(3))), r"an array of NumPy \(.npy\)"),
    "npz": (written(lambda file: np.savez(file, a=np.ones(3))), r"a file of NumPy arrays \(.npz\)"),
    "torch": (written(lambda file: torch.save({"a": torch.ones(2)}, file)), "a file of torch.save"),
    "old torch": (
        written(lambda file: torch.save({"a": 1}, file, _use_new_zipfile_serialization=False)), "a pickle"
    ),
    **{f"pickle {n}": (pickle.dumps({"q": {"d": 1.0}}, n), "a pickle; limbeck import") for n in range(6)},
    "zip": (archive(run=RUN), "a zip archive; unpack it"),
    "spreadsheet": (archive(**{"[Content_Types].xml": b"<x/>"}), "a spreadsheet"),
    "tar": (written(tar), "a tar archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\0", "a rar archive"),
    "compress": (b"\x1f\x9d\x90", "compressed by compress; gzip -d scores.txt"),
    "lzip": (b"LZIP\x01", "compressed by lzip"),
    "old lz4": (b"\x02\x21\x4c\x18", "compressed by lz4 in its legacy format; lz4 -d scores.txt"),
    "snappy": (b"\xff\x06\0\0sNaPpY", "compressed by snappy"),
    "SQLite": (database(), "an SQLite database"),
    "HDF5": (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
    "ORC": (b"ORC\x08\x03", "an ORC file"),
    "Avro": (b"Obj\x01\x04", "an Avro file"),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0\xa1\xb1", "a file of an old office program"),
    "PDF": (b"%PDF-1.7\n", "a PDF"),
    "safetensors": (b"\x10\0\0\0\0\0\0\0" + b'{"a":{"dtype":', "a safetensors file"),
    "page": (PAGE, "a web page .*, saved in place of the data; download the file itself"),
    "error of a bucket": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a web page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid x\nsize 9\n", "a pointer of Git LFS.*git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s1--0.gz\n", "a pointer of git-annex.*git annex get scores.txt"),
    "UTF-16": (RUN.decode().encode("utf-16"), "text in UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8 scores.txt"),
    "UTF-16 without a mark": (RUN.decode().encode("utf-16-le"), "text in UTF-16LE; .*iconv -f UTF-16LE"),
    "UTF-16, the other way": (RUN.decode().encode("utf-16-be"), "text in UTF-16BE"),
    "UTF-32": (RUN.decode().encode("utf-32"), "text in UTF-32; .*iconv -f UTF-32"),
}  # fmt: skip
READERS = {"run": read_run, "qrels": read_qrels, "lines": lambda path: list(lines(path))}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_text_is_named(kind, tmp_path):
    content, message = KINDS[kind]
    path = tmp_path / "scores.txt"
    for packed in (content, gzip.compress(content)):
        path.write_bytes(packed)
        for name, read in READERS.items():
            with pytest.raises(ConfigError, match=rf"scores\.txt: this is {message}.*Limbeck reads text") as said:
                read(path)
            assert said.value.__cause__ is None, name


@pytest.mark.parametrize("inner", ["gzip", "bzip2", "xz", "zstandard", "lz4"])
@pytest.mark.parametrize("outer", ["gzip", "zstandard"])
def test_what_is_compressed_twice_is_named(inner, outer, tmp_path):
    path = tmp_path / "scores.txt"
    path.write_bytes(PACKERS[outer](PACKERS[inner](RUN)))
    for name, read in READERS.items():
        with pytest.raises(ConfigError, match=rf"this is compressed twice, by {inner} inside; decompress it once"):
            pytest.fail(f"{name} read it: {read(path)}")


IDS = ["PAR1", "PAR123", "ORC", "BZh1", "FEA1", "LZIP", "ARROW1", "Rar!x", "version", "\u00ff\u00fe", "\u4e2d\u6587"]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("between", " \t")
def test_an_id_that_looks_like_a_mark_is_an_id(name, between, tmp_path):
    path = tmp_path / "run.trec"
    path.write_text(between.join([name, "Q0", "d", "1", "2.5", "t\n"]), encoding="utf-8")
    assert list(read_run(path)) == [name]
