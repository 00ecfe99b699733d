"""Queries and judgments of a collection's splits, and how ir_datasets provides them."""

import contextlib
import difflib
import errno
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from limbeck.config import ConfigError, fingerprint
from limbeck.data.columns import Judgments, Lines, Texts
from limbeck.locks import locked
from limbeck.progress import reported
from limbeck.scores.keys import pc

log = logging.getLogger(__name__)

_HELD_OUT = 100
"""Number of training queries suggested as dev split: as many as are validated (``eval.dev_queries``)."""

_SHOWN = 200
"""Most characters shown of an error of ir_datasets."""


@dataclass
class Split:
    """Queries and judgments; only judged queries."""

    queries: Texts
    qrels: Judgments
    lacking: int = 0
    """Number of judged queries without text, which are left out."""

    def judged(self) -> str:
        """Return a fingerprint of the judgments in their order."""
        return fingerprint((query, list(grades.items())) for query, grades in self.qrels.items())

    def tell_lacking(self, name: str) -> None:
        """Warn of judged queries without text in the split ``name``."""
        if self.lacking:
            log.warning("%s: %d judged queries have no text and are left out", name, self.lacking)


def present(collection: str, names: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the names of splits, None for each one that a folder or an id of ir_datasets lacks."""
    known, path = ir_datasets_home().registry._registered, Path(collection).expanduser()
    if path.exists():
        from limbeck.data import folder

        return folder.present(path, names)
    return {key: name if f"{collection}/{name}".rstrip("/") in known else None for key, name in names.items()}


def from_ir_datasets(
    identifier: str, names: Mapping[str, str | None], keep: Callable[[Mapping[str, Any], Callable[[], Split]], Split]
) -> tuple[Any, dict[str, Split], str]:
    """Return the documents of an id, its splits, and the version of ir_datasets.

    Parameters
    ----------
    identifier
        An id of ir_datasets.
    names
        Split name → the part after the id; None for no such split.
    keep
        Called with what a split depends on, and a function that reads the split; returns the split.

    Raises
    ------
    ConfigError
        The id or a split is unknown, or cannot be downloaded.
    """
    ir_datasets = ir_datasets_home()
    known = ir_datasets.registry._registered
    if identifier not in known:
        close = difflib.get_close_matches(identifier, list(known), 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        family, slash, _ = identifier.partition("/")
        if slash and family not in {each.partition("/")[0] for each in known}:
            hint += _of_experiments(identifier)
        raise ConfigError(f"data.collection: {identifier!r} is neither an existing folder nor an ir_datasets id{hint}")
    wanted = {name: f"{identifier}/{part}".rstrip("/") for name, part in names.items() if part is not None}
    version = ir_datasets.__version__
    for name, each in wanted.items():
        if each not in known:
            raise ConfigError(f"data.{name}: ir_datasets has no {each}\n{instead(name)}")
    from limbeck.data.documents import HomeDocuments

    try:
        with _alone(identifier):
            splits = {
                name: keep({"ir_datasets": version, "id": each}, partial(_loaded, ir_datasets, each))
                for name, each in wanted.items()
            }
            documents = HomeDocuments(ir_datasets.load(identifier))
            next(iter(documents.docs_iter()))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"data.collection: ir_datasets could not provide {identifier!r} ({_reason(error)}). It downloads "
            f"into {os.environ['IR_DATASETS_HOME']} and needs a connection for that; without one, point "
            "data.collection at a local BEIR folder (corpus.jsonl, queries.jsonl, qrels/*.tsv)"
        ) from error
    return documents, splits, version


def _loaded(ir_datasets: Any, identifier: str) -> Split:
    return read_split(ir_datasets.load(identifier), identifier)


def _of_experiments(place: str) -> str:
    """Return where a folder was looked for, and how experiments find their folders."""
    return (
        f"\nlooked at {Path(place).expanduser().absolute()}; experiments name folders below paths.data: where yours "
        "lie elsewhere, give paths.data=FOLDER, or set LIMBECK_DATA=FOLDER in the environment"
    )


@contextlib.contextmanager
def _alone(identifier: str) -> Iterator[None]:
    """Let only one process at a time download a data set and its relatives, which share files.

    A home folder without write permission is read without a lock: nothing is downloaded into it.
    """
    home = Path(os.environ["IR_DATASETS_HOME"])
    family = identifier.partition("/")[0]
    with contextlib.ExitStack() as stack:
        try:
            home.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(home / f"{family}.limbeck.lock", f"{identifier} of ir_datasets in {home}"))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
        yield


def _reason(error: Exception) -> str:
    """Return briefly why a download failed: the hosts that were not reached, else the beginning of the error."""
    text = str(error).replace("\\'", "'")
    hosts = dict.fromkeys(re.findall(r"host='([^']+)'", text))
    if hosts:
        return f"no connection to {', '.join(hosts)}"
    first = text.strip().split("\n")[0]
    return f"{type(error).__name__}: {first[:_SHOWN]}" if first else type(error).__name__


def ir_datasets_home() -> Any:
    """Import ir_datasets after setting its home, which it reads on import."""
    os.environ.setdefault("IR_DATASETS_HOME", str(Path.home() / ".ir_datasets"))
    import ir_datasets

    from limbeck.data.bars import quiet

    quiet(ir_datasets)
    return ir_datasets


def read_split(dataset: Any, name: str) -> Split:
    """Read queries and judgments. Unjudged queries are left out; so are judged ones without text, which are counted."""
    judgments = reported(dataset.qrels_iter(), None, f"judgments of {name}", "judgments")
    lines = Lines.of((each.query_id, each.doc_id, int(each.relevance)) for each in judgments)
    queries = reported(dataset.queries_iter(), None, f"queries of {name}", "queries")
    judged = pc.unique(lines.queries)
    texts = Texts.of((query.query_id, query.default_text()) for query in queries).only(judged)
    if not len(texts):
        raise ConfigError(f"{name}: no query has both a text and a judgment")
    found = Split(texts, Judgments.read(texts, lines), len(judged) - len(texts))
    pa.default_memory_pool().release_unused()  # three times as much as what stays
    return found


def instead(name: str, train: Split | None = None) -> str:
    """Return the advice for a collection that lacks a split.

    Parameters
    ----------
    name
        ``train``, ``dev`` or ``test``.
    train
        The training split, if it is known: if it is small, fewer queries are suggested.
    """
    if name != "dev":
        return f"data.{name}=null leaves it out, data.{name}=NAME takes another split"
    count = _HELD_OUT if train is None else max(1, min(_HELD_OUT, len(train.queries) // 5))
    return f"data.dev=null data.dev_queries={count} takes {count} of the training queries instead"


def held_out(train: Split, count: int) -> dict[str, Split]:
    """Return the training split without ``count`` queries, drawn by a hash of their ids, and these as dev split.

    Raises
    ------
    ConfigError
        The training split has no more than ``count`` queries.
    """
    if count >= len(train.queries):
        raise ConfigError(f"data.dev_queries must be < {len(train.queries)}, the number of training queries")
    by_hash = sorted(train.queries, key=lambda query: hashlib.sha256(query.encode()).digest())
    held = set(by_hash[:count])

    def part(inside: bool) -> Split:
        texts = Texts.of((query, text) for query, text in train.queries.items() if (query in held) == inside)
        judged = (grades for query, grades in train.qrels.items() if (query in held) == inside)
        return Split(texts, Judgments.of(texts, judged))

    return {"train": part(False), "dev": part(True)}
