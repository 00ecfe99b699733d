"""TREC run files as first stage: rankings of any system."""

import logging
import math
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal

from limbeck.config import ConfigError
from limbeck.data.candidates import Search, check_depth
from limbeck.data.fingerprints import sha256
from limbeck.evaluation.array_run import ArrayRun
from limbeck.evaluation.ranking import without
from limbeck.evaluation.runs import read_run
from limbeck.registry import register
from limbeck.types import Ranking, Run

log = logging.getLogger(__name__)

_NAMED = 5
"""Queries named in a warning."""


@register("candidates", "run")
class RunFiles:
    """Candidates from TREC run files, compressed or not.

    Parameters
    ----------
    file
        One file with the queries of all splits.
    train, dev, test
        File of one split; takes precedence over ``file``. ``dev`` without either reads the file of ``train``, from
        which dev queries may be held out.
    use
        What determines the order: ``scores``, as in trec_eval, ties by document id, both descending; or ``ranks``, for
        re-rankers that keep the first stage's scores, or round theirs.
    depth
        Documents kept for each query; null keeps all.
    name
        Name in tables; null takes the beginning of the file names, up to the first dot, if all have the same.

    Raises
    ------
    ValueError
        No file is given, one does not exist, or the depth is out of range.
    """

    kept: ClassVar[bool] = False
    pairs: ClassVar[float] = math.inf

    def __init__(
        self,
        *,
        file: str | None = None,
        train: str | None = None,
        dev: str | None = None,
        test: str | None = None,
        use: Literal["scores", "ranks"] = "scores",
        depth: int | None = None,
        name: str | None = None,
    ) -> None:
        check_depth(depth)
        if use not in ("scores", "ranks"):
            raise ValueError(f"use must be scores or ranks, got {use!r}")
        given = {"file": file, "train": train, "dev": dev, "test": test}
        self._files = {option: Path(path).expanduser() for option, path in given.items() if path is not None}
        if not self._files:
            raise ValueError("file must be given: a TREC run file, or one each by train, dev and test")
        for option, path in self._files.items():
            if not path.is_file():
                raise ValueError(f"{option} must be a TREC run file; {path} does not exist")
        self._checksums: dict[Path, str] = {}
        self.depth = depth
        stems = {path.name.partition(".")[0] for path in self._files.values()}
        self.name = name or (stems.pop() if len(stems) == 1 else "run")
        self.label = self.name
        self.advice = ""
        self.use: Literal["scores", "ranks"] = use

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the ranking depends on, besides the collection and the queries."""
        own = {"kind": "run", "use": self.use}
        return {**own, "sha256": self._sha256(search.split)}

    def search(self, search: Search) -> Run:
        """Read the rankings of a split's queries; a warning counts and names queries that the file lacks.

        Raises
        ------
        ConfigError
            A line is malformed (the message names file and line), no query of the split is in the file, or a document
            of a ranking is not in the collection.
        """
        path = self._file(search.split)
        try:
            run = read_run(path, use=self.use)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        except (EOFError, OSError) as error:
            raise ConfigError(f"{path}: the file is damaged or was not downloaded whole ({error})") from None
        found = self._own(run, search)
        _check_queries(path, found, search)
        _check_documents(path, found, search)
        return found

    def _own(self, run: ArrayRun, search: Search) -> ArrayRun:
        """Return the rankings of the queries of the search; the run itself if it has no others."""
        own = search.collection.drop_self
        here = lambda: (query for query in search.queries if query in run)  # noqa: E731
        whole = not own and (self.depth is None or max(run.lengths(), default=0) <= self.depth)
        if whole and all(ours == theirs for ours, theirs in zip_longest(here(), run)):
            return run
        return ArrayRun.of((query, self._ranking(query, run[query], own)) for query in here())

    def _file(self, split: str) -> Path:
        for option in (split, "file", *(["train"] if split == "dev" else [])):
            if option in self._files:
                return self._files[option]
        raise ConfigError(f"candidates.{split} must be given: a TREC run file with the {split} queries")

    def _sha256(self, split: str) -> str:
        path = self._file(split)
        if path not in self._checksums:
            self._checksums[path] = sha256(path)
        return self._checksums[path]

    def _ranking(self, query: str, ranking: Ranking, drop_self: bool) -> Ranking:
        ids, scores = without(ranking, query) if drop_self else ranking
        return Ranking(ids[: self.depth], scores[: self.depth])


def _check_queries(path: Path, found: Run, search: Search) -> None:
    if not found:
        raise ConfigError(
            f"{path} has none of the {len(search)} {search.split} queries of {search.collection.name} "
            f"(e.g. {next(iter(search.queries))!r}): it belongs to other queries"
        )
    if len(found) < len(search):
        missing = [query for query in search.queries if query not in found]
        named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        total = len(search.queries)
        log.warning("%s has no candidates for %d of %d %s queries: %s", path, len(missing), total, search.split, named)


def _check_documents(path: Path, found: ArrayRun, search: Search) -> None:
    unknown = search.collection.document_ids.unknown(found.documents())
    if unknown:
        query, document = next((q, d) for q, ranking in found.items() for d in ranking.ids if d in unknown)
        raise ConfigError(
            f"{path}: document {document!r} of query {query!r} is not in the collection {search.collection.name} "
            f"({len(unknown)} such documents): it belongs to another collection"
        )
