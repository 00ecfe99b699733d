"""The score store: raw scores of (query, document) pairs by a teacher, memory-mapped, with provenance.

A store is a folder:

    meta.json           provenance, counts and checksum, which is the name of the data's folder; written last
    CHECKSUM/rows.arrow     document (uint64 key), score (float32 or float64) and, for rankings, rank (int32);
                            sorted by query, then document; each query is in one record batch
    CHECKSUM/queries.arrow  query (uint64 key, sorted), batch, start, count, position (order of first appearance)
    CHECKSUM/ids.arrow      key, id: the hashed ids, sorted by key; see ``limbeck.scores.keys``
    parts/                  finished parts of an unfinished writer

Opening maps the files and reads ``meta.json``, so time and memory do not grow with the number of rows. Processes that
open the same store share its pages.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck.config import ConfigError
from limbeck.progress import reported, show
from limbeck.scores.checksum import DIGESTED, Checksum, digest
from limbeck.scores.keys import Keys, key, key_list, keys_of_lists, texts

META = "meta.json"
VERSION = 1

Scores = NDArray[np.floating[Any]]

_DAMAGE = (OSError, pa.ArrowException, LookupError, ValueError, TypeError, MemoryError)
"""Errors that reading a damaged Arrow file can raise."""


class ScoreStore:
    """A finished store, opened for reading; use ``open`` to create one.

    Parameters
    ----------
    path
        Folder of the store.
    meta
        Content of its ``meta.json``.
    """

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path = path
        self.meta = meta
        self._maps: dict[str, Any] = {}
        try:
            self._rows = self._map("rows.arrow")
            self._queries = self._map("queries.arrow")
            self._ids = self._map("ids.arrow")
            if self._queries.num_record_batches != 1:
                raise pa.ArrowInvalid("queries.arrow has not one record batch")
            table = self._queries.get_batch(0)
            self._keys: Keys = table["query"].to_numpy()
            self._batch, self._start, self._count, self._position = (
                table[name].to_numpy() for name in ("batch", "start", "count", "position")
            )
            if int(self._batch[-1]) >= self._rows.num_record_batches:
                raise pa.ArrowInvalid("rows.arrow is not whole")
        except _DAMAGE as error:
            raise self._damaged(error) from error
        self._batches: dict[int, tuple[Keys, Scores, NDArray[np.int32] | None]] = {}

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a finished store.

        Raises
        ------
        ConfigError
            The store does not exist, is unfinished, has another version, or is damaged.
        """
        path = Path(path)
        while True:
            meta = cls._meta(path)
            try:
                return cls(path, meta)
            except ConfigError:
                if cls._meta(path)["checksum"] == meta["checksum"]:
                    raise  # else the store was extended meanwhile, and its data is in another folder

    @staticmethod
    def _meta(path: Path) -> dict[str, Any]:
        file = path / META
        if not file.is_file():
            if (path / "parts").is_dir():
                raise ConfigError(f"{path}: this score store is unfinished; run the command that writes it again")
            raise ConfigError(f"{path}: there is no score store here; create one with limbeck score or limbeck import")
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
            version = meta["version"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{file}: this is not the meta.json of a score store ({error}); create the store again"
            ) from error
        if version != VERSION:
            raise ConfigError(
                f"{path}: a score store of version {version}; this Limbeck reads version {VERSION}: create it again"
            )
        if not re.fullmatch("[0-9a-f]{32}", str(meta.get("checksum"))):  # it must not name a folder outside the store
            raise ConfigError(f"{file}: its checksum is not valid; create the store again")
        return {"kind": "unknown", "scale": None, **meta}

    def _map(self, name: str) -> pa.ipc.RecordBatchFileReader:
        source = pa.memory_map(str(self.path / self.meta["checksum"] / name))
        self._maps[name] = source
        return pa.ipc.open_file(source)

    def __len__(self) -> int:
        return int(self.meta["rows"])

    def __repr__(self) -> str:
        return f"{self.path}: {len(self):,} scores of {len(self._keys):,} queries by {self.meta['teacher']}"

    @property
    def checksum(self) -> str:
        """Checksum of pairs, scores and ranks; it does not depend on the order in which they were added."""
        return str(self.meta["checksum"])

    # -- looking up -----------------------------------------------------------------------------------------------

    def lookup(self, query_id: str, document_ids: Sequence[str]) -> Scores:
        """Return the scores of a list.

        Parameters
        ----------
        query_id
            Id of the query.
        document_ids
            Ids of L documents.

        Returns
        -------
        numpy.ndarray
            (L,) raw scores in the store's type; NaN for pairs that are not in the store.
        """
        return self._find(self._place(key(query_id)), key_list(document_ids))

    def lookup_many(
        self, query_ids: Sequence[str], offsets: NDArray[np.int64], document_ids: pa.Array
    ) -> NDArray[np.float32]:
        """Return the scores of many lists as one float32 column: list i is ``document_ids[offsets[i]:offsets[i+1]]``.

        Pairs that are not in the store have NaN.
        """
        found = np.empty(len(document_ids), dtype=np.float32)
        lists = keys_of_lists(query_ids, offsets, document_ids)
        label = f"looking scores up in {self.path}"
        for query, rows, wanted in reported(lists, len(query_ids), label, "queries"):
            found[rows] = self._find(self._place(query), wanted)
        return found

    def _place(self, query: int) -> int:
        at = int(self._keys.searchsorted(np.uint64(query)))
        return at if at < len(self._keys) and int(self._keys[at]) == query else -1

    def _find(self, place: int, wanted: Keys) -> Scores:
        if place < 0:
            return np.full(len(wanted), np.nan, dtype=np.float32)
        documents, scores, _ = self._slice(place)
        at = documents.searchsorted(wanted)
        at[at == len(documents)] = 0
        found = scores[at]
        found[documents[at] != wanted] = np.nan
        return found

    def _slice(self, place: int) -> tuple[Keys, Scores, NDArray[np.int32] | None]:
        number = int(self._batch[place])
        if number not in self._batches:
            batch = self._rows.get_batch(number)
            ranks = batch["rank"].to_numpy() if "rank" in batch.schema.names else None
            self._batches[number] = (batch["document"].to_numpy(), batch["score"].to_numpy(), ranks)
        documents, scores, ranks = self._batches[number]
        start = int(self._start[place])
        rows = slice(start, start + int(self._count[place]))
        return documents[rows], scores[rows], None if ranks is None else ranks[rows]

    # -- reading all ----------------------------------------------------------------------------------------------

    def query_ids(self) -> list[str]:
        """Return all query ids, in the order of their first appearance."""
        return self._texts(self._keys[np.argsort(self._position, kind="stable")])

    def ranking(self, query_id: str) -> tuple[list[str], Scores, NDArray[np.int32] | None]:
        """Return documents, scores and, if the store has them, ranks of a query.

        They are in the order of the ranks, or without ranks by descending score, with ties by descending document id.

        Raises
        ------
        KeyError
            The query is not in the store.
        """
        place = self._place(key(query_id))
        if place < 0:
            raise KeyError(query_id)
        documents, scores, ranks = self._slice(place)
        ids = self._texts(documents)
        if ranks is not None:
            order = np.argsort(ranks, kind="stable")
        else:
            order = np.array(sorted(range(len(ids)), key=lambda i: (scores[i], ids[i]), reverse=True), dtype=np.int64)
        return [ids[i] for i in order], scores[order], None if ranks is None else ranks[order]

    def __iter__(self) -> Iterator[tuple[str, list[str], Scores, NDArray[np.int32] | None]]:
        for query in self.query_ids():
            yield query, *self.ranking(query)

    def batches(self) -> Iterator[tuple[list[str], NDArray[np.int64], list[str], Scores]]:
        """Yield all rows in batches of queries: query ids, offsets of their rows, document ids, scores."""
        for number in range(self._rows.num_record_batches):
            here = np.flatnonzero(self._batch == number)
            batch = self._rows.get_batch(number)
            offsets = np.concatenate(([0], np.cumsum(self._count[here], dtype=np.int64)))
            documents = self._texts(batch["document"].to_numpy())
            yield self._texts(self._keys[here]), offsets, documents, batch["score"].to_numpy()

    def sample(self, count: int) -> list[tuple[str, str, float]]:
        """Return at most ``count`` pairs, evenly spaced over the rows: query id, document id, score."""
        ends = np.cumsum(self._count)
        found = []
        for row in np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)).tolist():
            place = int(ends.searchsorted(row, side="right"))
            documents, scores, _ = self._slice(place)
            within = row - int(ends[place] - self._count[place])
            query, document = self._texts(np.array([self._keys[place], documents[within]]))
            found.append((query, document, float(scores[within])))
        return found

    def spread(self) -> tuple[float, float]:
        """Return mean and standard deviation of all scores."""
        batches = [self._rows.get_batch(number)["score"].to_numpy() for number in range(self._rows.num_record_batches)]
        mean = sum(float(batch.sum(dtype=np.float64)) for batch in batches) / len(self)
        square = sum(float(np.square(batch - mean, dtype=np.float64).sum()) for batch in batches) / len(self)
        return mean, square**0.5

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all rows in memory: query and document keys, scores, ranks (if any), position of the query."""
        queries = [np.repeat(self._keys, self._count), np.repeat(self._position, self._count)]
        batches = [self._rows.get_batch(number) for number in range(self._rows.num_record_batches)]
        names = self._rows.schema.names
        rows = {name: np.concatenate([batch[name].to_numpy() for batch in batches]) for name in names}
        return {"query": queries[0], **rows, "order": queries[1]}

    def id_table(self) -> pa.RecordBatch:
        """Return the table (key, id) of the hashed ids."""
        return self._ids.get_batch(0)

    def _texts(self, found: Keys) -> list[str]:
        return texts(found, *self._table)

    @cached_property
    def _table(self) -> tuple[Keys, pa.Array]:
        table = self._ids.get_batch(0)
        return table["key"].to_numpy(), table["id"]

    def verify(self) -> None:
        """Read all data and compare it with the checksums.

        Raises
        ------
        ConfigError
            The data have changed since the store was written.
        """
        try:
            # Read the mapped files, not the paths: extending the store removes this folder and writes another.
            digested = {name: digest(self._maps[name].read_at(self._maps[name].size(), 0)) for name in DIGESTED}
            same = self.meta.get("files") in (None, digested) and self._content()
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if not same:
            raise ConfigError(f"{self.path}: the scores have changed since they were written: create the store again")

    def _content(self) -> bool:
        """Return whether the rows have the recorded checksum."""
        names = ["document", "score", *(["rank"] if self.meta["has_ranks"] else [])]
        sizes = (self._count.sum(), len(self._keys))
        if self._rows.schema.names != names or sizes != (len(self), self.meta["queries"]):
            return False
        found = Checksum()
        batches = (self._rows.get_batch(number) for number in range(self._rows.num_record_batches))
        for number, rows in enumerate(show(batches, len(self), f"checking {self.path}", "pairs")):
            here = self._batch == number
            found.add(self._keys[here], self._count[here], [column.to_numpy() for column in rows.columns])
        return found.text() == self.checksum

    def _damaged(self, error: Exception) -> ConfigError:
        return ConfigError(f"{self.path}: this score store is damaged ({error}); create it again")
