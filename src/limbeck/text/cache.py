"""The token cache: token ids of a collection on disk, by tokenizer, prefix and suffix."""

import errno
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.text import token_store
from limbeck.text.token_store import MOST, VERSION, TokenStore
from limbeck.text.tokenizer import Role, TextTokenizer

log = logging.getLogger(__name__)

WORTH = 0.25
"""Share of a collection that a job must read for the whole collection to be tokenised and cached."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Corpus(Protocol):
    """A collection of texts."""

    name: str

    def count(self, role: Role) -> int:
        """Return the number of queries or documents."""
        ...

    def texts(self, role: Role) -> Iterator[tuple[str, str]]:
        """Yield (id, text) of all queries or documents, always in the same order."""
        ...

    def content(self, role: Role) -> str:
        """Return a fingerprint of the queries or documents."""
        ...


class TokenCache:
    """The cached token ids of a collection for one tokenizer.

    All texts are tokenised and cached (as an artefact ``tokens``) if a job will read at least a quarter as many texts
    as there are, so that the cost is recovered after four such jobs. A smaller job (1,000 candidates from 8.8 million
    passages) uses an existing cache, or tokenises its texts itself.

    Parameters
    ----------
    artefacts
        Folder of cached artefacts.
    tokenizer
        The tokenizer.
    corpus
        The collection.
    """

    def __init__(self, artefacts: Artefacts, tokenizer: TextTokenizer, corpus: Corpus) -> None:
        self._artefacts = artefacts
        self._tokenizer = tokenizer
        self._corpus = corpus
        self._told: set[str] = set()

    def open(self, role: Role, prefix: str, reads: int | None, *, suffix: str = "") -> TokenStore | None:
        """Return the cached tokens, tokenising the collection first if it is worth it; None if there is no cache.

        Parameters
        ----------
        role
            Queries or documents.
        prefix
            Text before each query or document.
        reads
            Number of texts that the job will read, with repetitions; None for the whole collection.
        suffix
            Text after each query or document.

        Raises
        ------
        ConfigError
            The disk is full, or the cache is damaged.
        """
        inputs = {
            "version": VERSION,
            "role": role,
            "texts": self._corpus.content(role),
            "tokenizer": self._tokenizer.fingerprint,
            "prefix": prefix,
            "most": MOST,
            **({"suffix": suffix} if suffix else {}),
        }
        path = self._artefacts.find("tokens", inputs)
        if path is None:
            if not self._worth(role, prefix, reads):
                return None
            path = self._artefacts.folder(
                "tokens", inputs, lambda folder: self._make(folder, role, prefix, suffix), parts=True
            )
        return TokenStore(path, left=self._tokenizer.cuts_left)

    def _worth(self, role: Role, prefix: str, reads: int | None) -> bool:
        if reads is None or reads >= WORTH * (count := self._corpus.count(role)):
            return True
        if role == "document" and prefix not in self._told:  # queries are not worth a message
            self._told.add(prefix)
            log.info(
                "tokens: only %s of %s documents of %s are needed; they are tokenised on the fly and not cached",
                f"{reads:,}",
                f"{count:,}",
                self._corpus.name,
            )
        return False

    def _make(self, folder: Path, role: Role, prefix: str, suffix: str) -> None:
        texts, total = self._corpus.texts(role), self._corpus.count(role)
        what = f"{'queries' if role == 'query' else 'documents'} of {self._corpus.name}"
        try:
            token_store.write(folder, texts, self._tokenizer, prefix=prefix, suffix=suffix, total=total, what=what)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            written = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            shutil.rmtree(folder)
            raise ConfigError(
                f"paths.cache: the disk of {folder.parent} is full after {written:,.0f} MB of tokens of the {what}; "
                "free some space, or set paths.cache to a folder on another disk"
            ) from error
