"""Find out, by its columns, whether a file of a data set holds training lists or texts by id."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from limbeck.config import ConfigError
from limbeck.formats.layouts import QUERY_IDS, Layout, layout
from limbeck.formats.records import names

_DOCUMENT_IDS = ("document_id", "passage_id", "corpus_id", "corpus-id", "doc_id", "docid", "pid", "_id", "id")
_DOCUMENT_TEXTS = ("text", "passage", "document", "contents")
_QUERY_TEXTS = ("query", "text", "question")

Role = Literal["query", "document"]


class ListFile(NamedTuple):
    """A file of a data set."""

    path: Path
    lists: Layout | None
    """Layout of its lists; None for a table of texts."""
    texts: tuple[str, str, str | None] | None = None
    """The columns of id, text and title in a table of texts."""
    role: Role = "document"
    """Whether the texts are queries or documents."""


def seen(path: Path) -> ListFile:
    """Return the contents of a file.

    Raises
    ------
    ConfigError
        The file holds neither lists with scores nor texts.
    """
    have = names(path)
    found = layout(have)
    if found is not None:
        return ListFile(path, found)
    title = "title" if "title" in have else None
    query = _texts(have, QUERY_IDS, _QUERY_TEXTS)
    if query is not None:
        return ListFile(path, None, (*query, None), "query")
    document = _texts(have, _DOCUMENT_IDS, _DOCUMENT_TEXTS)
    if document is not None:
        return ListFile(path, None, (*document, title), "document")
    raise ConfigError(
        f"{path}: the file has the columns {', '.join(have)}, which are neither lists with scores nor texts by id; "
        "docs/howto/import.md has the layouts. Lists without scores are for limbeck score; other names of columns, a "
        "pair a line, for format=table"
    )


def _texts(have: Sequence[str], ids: Sequence[str], texts: Sequence[str]) -> tuple[str, str] | None:
    identifier = next((name for name in ids if name in have), None)
    text = next((name for name in texts if name in have), None)
    return (identifier, text) if identifier and text else None


def has_texts(how: Layout) -> bool:
    """Return whether lists of a layout include the texts of their documents."""
    return how.name in ("passages", "pos_neg", "apart") or not any(
        name.endswith(("_id", "_ids")) or name in ("docids", "pids") for name in how.columns if name not in QUERY_IDS
    )
