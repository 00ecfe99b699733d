"""Ids of documents without a collection."""

import tempfile
from pathlib import Path

from limbeck.data.document_ids import DocumentIds, write


def document_ids(names):
    """Return ids as a collection has them; the file has no name any more when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), names, "corpus", len(names))
        return DocumentIds(Path(folder))
