"""BM25 first stage."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from limbeck.config import ConfigError
from limbeck.data import bm25_index
from limbeck.data.analysers import ANALYSERS, STOPWORDS, characters, words
from limbeck.data.candidates import Search, best, check_depth
from limbeck.data.collection import Collection
from limbeck.evaluation.array_run import ArrayRun
from limbeck.progress import show
from limbeck.registry import register
from limbeck.types import Run

_BLOCK = 10_000
"""Documents analysed at once."""


@register("candidates", "bm25")
class BM25:
    """BM25 over the whole collection (Lucene's variant), by default on English words.

    Parameters
    ----------
    depth
        Documents retrieved for each query.
    k1, b
        Term saturation and length normalisation; .9 and .4 are Anserini's, 1.2 and .75 Lucene's.
    analyser
        ``words``: two or more letters or digits in a row. ``characters``: single characters and pairs of them for
        scripts without spaces between words (Chinese, Japanese, Thai, Khmer, …), and whole words, even of one letter,
        for others. See ``limbeck.data.analysers``.
    stemmer
        Snowball language; null for no stemming.
    stopwords
        Code or name of a bm25s list; null for none.

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; bm25s (Lù, 2024).
    """

    kept: ClassVar[bool] = True
    pairs: ClassVar[float] = 2e11

    def __init__(
        self,
        *,
        depth: int = 100,
        k1: float = 0.9,
        b: float = 0.4,
        analyser: Literal["words", "characters"] = "words",
        stemmer: str | None = "english",
        stopwords: str | None = "en",
    ) -> None:
        check_depth(depth)
        if k1 < 0:
            raise ValueError(f"k1 must be >= 0, got {k1}")
        if not 0 <= b <= 1:
            raise ValueError(f"b must be in [0, 1], got {b}")
        if analyser not in ANALYSERS:
            raise ValueError(f"analyser must be one of {', '.join(ANALYSERS)}, got {analyser!r}")
        if stopwords is not None and stopwords not in (*STOPWORDS, *STOPWORDS.values()):
            raise ValueError(f"stopwords must be null or one of {', '.join(STOPWORDS)}, got {stopwords!r}")
        self.depth = depth
        self._indexes: dict[Path, Any] = {}
        self.k1 = k1
        self.b = b
        self.analyser = analyser
        self.stopwords = stopwords
        self._stem = _stemmer(stemmer)
        self._index_identity = {
            "kind": "bm25", "k1": k1, "b": b, "analyser": analyser, "stemmer": stemmer, "stopwords": stopwords,
        }  # fmt: skip
        self.name = "BM25"
        self.label = f"BM25 (k1={k1:g}, b={b:g})" if analyser == "words" else f"BM25 of characters (k1={k1:g}, b={b:g})"
        self.advice = self._advice(stemmer)

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the ranking depends on, besides the collection and the queries."""
        del search
        return self._index_identity

    def search(self, search: Search) -> Run:
        """Rank the collection for each query; documents without a common word are left out.

        Raises
        ------
        ConfigError
            No document has a word.
        """
        import torch

        collection = search.collection
        path = search.artefacts.folder(
            "bm25",
            {**self._index_identity, "documents": collection.content("document")},
            lambda target: self._index(collection, target),
            label=f"BM25 index of {collection.name}",
            parts=True,
        )
        index = self._opened(path / "index")
        terms = self._tokens(list(search.queries.values()))
        depth = self.depth + collection.drop_self
        blocks = bm25_index.search(index, terms, depth, threads=torch.get_num_threads())
        shown = show(blocks, len(terms), f"{self.label}: queries", "queries", part=True)
        found = (each for block in shown for each in block)
        ids = collection.document_ids
        return ArrayRun.of(
            (query, best(query, ids.take(rows), scores, self.depth, drop_self=collection.drop_self))
            for query, (rows, scores) in zip(search.queries, found, strict=True)
        )

    def _opened(self, path: Path) -> Any:
        """Return an index with its vocabulary; each is loaded once."""
        if path not in self._indexes:
            import bm25s

            self._indexes[path] = bm25s.BM25.load(path, mmap=True)
        return self._indexes[path]

    def _index(self, collection: Collection, target: Path) -> None:
        texts = (text for _, text in collection.iterate())
        blocks = iter(lambda: list(islice(texts, _BLOCK)), [])
        index = bm25_index.build(
            blocks,
            self._tokens,
            target / "counted",
            k1=self.k1,
            b=self.b,
            total=len(collection.document_ids),
            label=f"BM25 index of {collection.name}",
        )
        if not index.vocab_dict:
            raise ConfigError(f"no document of {collection.name} has a word for BM25: {self.advice}")
        index.save(target / "index")
        shutil.rmtree(target / "counted")

    def _tokens(self, texts: list[str]) -> list[list[str]]:
        analyse = words if self.analyser == "words" else characters
        return analyse(texts, stopwords=self.stopwords, stemmer=self._stem)

    def _advice(self, stemmer: str | None) -> str:
        """Return which tokens are counted, and what to try where none is found."""
        language = f"stopwords={self.stopwords or 'null'} and stemmer={stemmer or 'null'}"
        if self.analyser == "words":
            taken = "two or more letters or digits in a row"
            tries = ["candidates.analyser=characters for text without spaces between words, or words of one letter"]
        else:
            taken = "characters of scripts without spaces between words, and words of others"
            tries = []
        if self.stopwords or stemmer:
            tries.append(
                "candidates.stopwords=null candidates.stemmer=null for other languages, or texts of stop words only"
            )
        tries.append("candidates=dense, an encoder")
        return f"candidates.analyser={self.analyser} takes {taken}, with {language}; try {'; or '.join(tries)}"


def _stemmer(language: str | None) -> Any:
    if language is None:
        return None
    import Stemmer

    try:
        return Stemmer.Stemmer(language)
    except KeyError:
        raise ConfigError(
            f"stemmer must be null or one of {', '.join(Stemmer.algorithms())}, got {language!r}"
        ) from None
