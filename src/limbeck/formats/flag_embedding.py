"""Training lists of FlagEmbedding with the scores of a re-ranker: texts instead of ids.

``{"query": "…", "pos": ["…"], "neg": ["…", …], "pos_scores": […], "neg_scores": […]}``, as its ``add_reranker_score``
writes them. https://github.com/FlagOpen/FlagEmbedding
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from limbeck.config import ConfigError
from limbeck.formats.base import Thunk
from limbeck.formats.faults import Faults
from limbeck.formats.files import SMALL_BLOCK, chunks
from limbeck.formats.jsonl import JsonLines, ScoredList, listed
from limbeck.formats.judging import Judgments, write_qrels
from limbeck.registry import register
from limbeck.unfinished import beside, set_aside


@register("format", "flag_embedding")
class FlagEmbedding(JsonLines):
    """Lists with texts. Ids are computed from the texts, and a BEIR folder is written that the ids belong to.

    Parameters
    ----------
    store
        Folder of the store in the making.
    collection
        Where the BEIR folder is written: corpus.jsonl, queries.jsonl, qrels/train.tsv. Null is the store's folder
        with ``.collection`` after its name.
    """

    expects = '{"query": "…", "pos": ["…"], "neg": ["…"], "pos_scores": [1.2], "neg_scores": [-0.3]}'

    def __init__(self, store: Path, *, collection: str | None = None) -> None:
        super().__init__(store)
        self.collection = store.with_name(f"{store.name}.collection") if collection is None else Path(collection)
        self._folder = _Folder(self.collection)

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield blocks that are parsed already: one after the other, so that the corpus has one order."""
        with self._folder:
            for position, chunk in enumerate(chunks(paths, SMALL_BLOCK)):
                block = self.block(position, chunk, faults)
                yield lambda block=block: block

    def scored(self, value: Any) -> ScoredList:
        """Read positives, then negatives, and write the texts that are new."""
        positives, negatives = listed(value, "pos"), listed(value, "neg")
        for name in ("pos_scores", "neg_scores"):
            if value.get(name) is None:
                raise ValueError(f"has no {name!r}: score the lists with a re-ranker first (add_reranker_score)")
        scores = [listed(value, "pos_scores"), listed(value, "neg_scores")]
        for name, texts, given in zip(("pos", "neg"), (positives, negatives), scores, strict=True):
            if len(texts) != len(given):
                raise ValueError(f"has {len(texts)} texts in {name!r}, but {len(given)} in '{name}_scores'")
        every = [*positives, *negatives]
        for text in (value.get("query"), *every):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{text!r} is no text")
        query = self._folder.query(value["query"])
        documents = [self._folder.document(text) for text in every]
        return ScoredList(query, documents, [*scores[0], *scores[1]], documents[: len(positives)])

    def finish(self) -> dict[str, Any]:
        """Give the BEIR folder its name; return where it is."""
        self._folder.finish(self.judgments())
        return {**super().finish(), "collection_folder": str(self.collection)}


def text_id(text: str) -> str:
    """Return the id of a text: 20 hexadecimal digits of a hash."""
    return hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=10).hexdigest()


class _Folder:
    """A BEIR folder in the making; it gets its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, set[str]] = {}
        self._files: dict[str, IO[str]] = {}

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = beside(self._path)
        (self._unfinished / "qrels").mkdir(parents=True)
        for name in ("corpus", "queries"):
            self._files[name] = (self._unfinished / f"{name}.jsonl").open("w", encoding="utf-8")
            self._written[name] = set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def query(self, text: str) -> str:
        return self._add("queries", text, {})

    def document(self, text: str) -> str:
        return self._add("corpus", text, {"title": ""})

    def _add(self, name: str, text: str, more: dict[str, str]) -> str:
        identifier = text_id(text)
        if identifier not in self._written[name]:
            self._written[name].add(identifier)
            record = {"_id": identifier, **more, "text": text}
            self._files[name].write(json.dumps(record, ensure_ascii=False) + "\n")
        return identifier

    def finish(self, judgments: Judgments) -> None:
        write_qrels(self._unfinished / "qrels" / "train.tsv", judgments)
        if self._path.exists():
            set_aside(self._path)
        self._unfinished.rename(self._path)


def check_free(folder: Path, *, force: bool) -> None:
    """Raise ``ConfigError`` if a BEIR folder would replace something else."""
    if not folder.exists():
        return
    ours = folder.is_dir() and {each.name for each in folder.iterdir()} <= {"corpus.jsonl", "queries.jsonl", "qrels"}
    if not ours:
        raise ConfigError(f"format.collection: {folder} exists and is no BEIR folder; choose another")
    if not force:
        raise ConfigError(f"format.collection: {folder} exists; force=true replaces it, or choose another")
