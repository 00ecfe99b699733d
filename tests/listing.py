"""Ids of documents without a collection."""

import tempfile
from pathlib import Path

from limbeck.data.document_ids import DocumentIds, write


def document_ids(names):
    """Return a collection's kind of ids; their file is already deleted when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), names, "corpus", len(names))
        return DocumentIds(Path(folder))
