"""What a format makes of files, as plain rows."""

import pytest
from hydra.utils import get_object

from limbeck.config import entries
from limbeck.formats.faults import Faults


def texts(ids):
    return [str(each) for each in (ids.tolist() if hasattr(ids, "tolist") else ids)]


@pytest.fixture
def build(tmp_path):
    """Make a format by its name."""

    def make(name, **options):
        return get_object(entries()["format", name].path)(tmp_path / "store", **options)

    return make


@pytest.fixture
def rows(build):
    """Parse files; returns rows (query, document, score[, rank]), and what was left out."""

    def parse(name, *paths, on_error="error", **options):
        source = build(name, **options)
        faults = Faults(on_error)
        result = []
        for thunk in source.blocks(list(paths), faults):
            block = thunk()
            columns = [texts(block.queries), texts(block.documents), block.scores.tolist()]
            if block.ranks is not None:
                columns.append(block.ranks.tolist())
            result += zip(*columns, strict=True)
        return result, faults

    return parse


@pytest.fixture
def made(tmp_path):
    """Make a file of lines."""

    def make(*lines, name="scores.txt"):
        path = tmp_path / name
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
        return path

    return make
