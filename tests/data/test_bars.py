"""The bars of ir_datasets are our lines: a log file gets no endless line of theirs."""

from typing import NamedTuple

import pytest
from ir_datasets.indices import PickleLz4FullStore

from jumping import lines, listening
from limbeck.data.splits import ir_datasets_home


class Doc(NamedTuple):
    doc_id: str
    text: str


def build(folder):
    docs = [Doc(f"d{n}", "text") for n in range(9000)]
    PickleLz4FullStore(str(folder), lambda: iter(docs), Doc, "doc_id", ["doc_id"], count_hint=9000).build()


def test_a_document_store(tmp_path, caplog, capfd):
    ir_datasets_home()
    with listening(caplog):
        build(tmp_path / "store")
    shares = [each.split(" %")[0] for each in lines(caplog, "document store") if " %" in each]
    assert shares == ["45", "91", "100"]
    assert "\r" not in "".join(capfd.readouterr())


def test_a_download(caplog, capfd):
    ir_datasets = ir_datasets_home()
    with listening(caplog):
        how = {"unit": "B", "unit_scale": True, "bar_format": "{desc}", "file": None}
        with ir_datasets.log.easy().pbar_raw(desc="https://a.org/b", total=4 << 20, **how) as bar:
            for _ in range(8):
                bar.update(1 << 19)
            assert bar.n == 4 << 20
            bar.bar_format = "{desc} [{elapsed}]"
            assert str(bar) == f"https://a.org/b: {4 << 20:,}"
        ir_datasets.log.easy().error("not reached")  # its log is written through tqdm, too
    shares = [each.split(" %")[0] for each in lines(caplog, "https://a.org/b") if " %" in each]
    assert shares[:3] == ["25", "50", "75"]
    written = capfd.readouterr().err
    assert written.endswith("[ERROR] not reached\n")
    assert "\r" not in written


def test_a_download_that_fails(caplog):
    ir_datasets = ir_datasets_home()

    def failing():
        with ir_datasets.log.easy().pbar_raw(desc="https://a.org/c", total=10, unit="B") as bar:
            bar.update(5)
            raise ConnectionError

    with pytest.raises(ConnectionError), listening(caplog):
        failing()
