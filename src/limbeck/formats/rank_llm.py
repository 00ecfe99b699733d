"""Results of RankLLM: permutations of candidate lists by list-wise re-rankers (RankZephyr, RankGPT, FIRST, …).

One JSON object per line, or one JSON array of them, as its ``DataWriter`` writes them:

    {"query": {"text": "…", "qid": "264014"}, "candidates": [{"docid": "4834547", "score": 14.97, "doc": {…}}, …]}

The order of ``candidates`` is the teacher's. The scores are not: RankLLM assigns the first stage's scores to the new
order. They are not read. https://github.com/castorini/rank_llm
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.base import Format, Thunk, identifiers
from limbeck.formats.faults import Faults
from limbeck.formats.files import lines, opened_text
from limbeck.registry import register
from limbeck.scores.parts import Block

_PAIRS = 500_000
"""Approximate number of pairs per block."""


@register("format", "rank_llm")
class RankLLM(Format):
    r"""Permutations; several of one query are merged into one order, by mean rank.

    ```math
    s(q, d) = -\frac{1}{m} \sum_{p=1}^m r_p(d)
    ```

    over the m permutations of the query, from any of the files. $`r_p(d)`$ counts from 1; a document that a permutation
    lacks has the rank after its last one. Up to a constant this is Borda's count, and the order with the least squared
    differences of ranks to all permutations. Ranks are stored besides the scores: documents with equal means share a
    rank. The agreement of the permutations is recorded as Kendall's W, 1 if they are identical.

    All permutations are held in memory, about 150 bytes per pair.
    """

    kind = "rank"
    expects = '{"query": {"text": …, "qid": …}, "candidates": [{"docid": …, "score": …, "doc": {…}}, …]}, best first'

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self._found: dict[str, list[list[str]]] = {}

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the orders of some queries at a time.

        Raises
        ------
        ConfigError
            A file is no JSON, or another kind of RankLLM's files.
        """
        self._found.clear()
        for path in paths:
            for line, value in _values(path, faults, self.expects):
                try:
                    query, documents = _permutation(value)
                except ConfigError as error:  # the file is wrong, not only this line
                    raise ConfigError(f"{path}: {error}") from None
                except (ValueError, KeyError, TypeError) as error:
                    faults.add(path, line, _problem(error), expects=self.expects)
                    continue
                self._found.setdefault(query, []).append(documents)
        some: dict[str, dict[str, float]] = {}
        for query, permutations in self._found.items():
            some[query] = mean_ranks(permutations)
            if sum(map(len, some.values())) >= _PAIRS:
                yield lambda some=some: _block(some)
                some = {}
        if some:
            yield lambda: _block(some)

    def finish(self) -> dict[str, Any]:
        """Return the number of permutations per query, and their agreement."""
        counts = [len(permutations) for permutations in self._found.values()]
        if not counts:
            return {}
        several = [kendall_w(permutations) for permutations in self._found.values() if len(permutations) > 1]
        return {
            "permutations": {
                "per_query": [min(counts), float(np.median(counts)), max(counts)],
                "kendall_w": float(np.mean(several)) if several else None,
            }
        }


def mean_ranks(permutations: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the mean rank of each document, in the order of first appearance.

    Parameters
    ----------
    permutations
        One or more orders, best first. A document that one lacks has the rank after its last one.
    """
    totals = {document: 0.0 for documents in permutations for document in documents}
    for documents in permutations:
        ranks = {document: rank for rank, document in enumerate(documents, 1)}
        for document in totals:
            totals[document] += ranks.get(document, len(documents) + 1)
    return {document: total / len(permutations) for document, total in totals.items()}


def kendall_w(permutations: Sequence[Sequence[str]]) -> float:
    r"""Return Kendall's coefficient of concordance of m orders of n documents.

    ```math
    W = \frac{12 \sum_d (R_d - \bar R)^2}{m^2 (n^3 - n)}
    ```

    with $`R_d`$ the sum of the document's ranks: 1 if all orders are the same, about 1/m if they are random. For one
    document W is 1.
    """
    sums = np.array(list(mean_ranks(permutations).values())) * len(permutations)
    n, m = len(sums), len(permutations)
    return float(12 * np.square(sums - sums.mean()).sum() / (m**2 * (n**3 - n))) if n > 1 else 1.0


def _block(found: Mapping[str, Mapping[str, float]]) -> Block:
    queries, documents, scores, ranks = [], [], [], []
    for query, means in found.items():
        values = np.array(list(means.values()))
        queries += [query] * len(values)
        documents += means
        scores.append(-values)
        ranks.append(np.searchsorted(np.sort(values), values) + 1)  # documents with equal means share a rank
    return Block(
        identifiers(queries),
        identifiers(documents),
        np.concatenate(scores).astype(np.float32),
        np.concatenate(ranks).astype(np.int32),
    )


def _values(path: Path, faults: Faults, expects: str) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each line, or of each element of an array."""
    with opened_text(path) as file:
        array = file.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
        if array:
            try:
                yield from enumerate(json.loads(file.read().decode("utf-8-sig")), 1)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path}: is no whole JSON array ({error}); expected {expects}") from None
            return
    for line, text in lines(path):
        if text.strip():
            try:
                value = json.loads(text.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                faults.add(path, line, f"is no JSON ({error})", text=text, expects=expects)
                continue
            yield line, value


def _permutation(value: Any) -> tuple[str, list[str]]:
    if isinstance(value, dict) and "candidates" not in value and "invocations_history" in value:
        raise ConfigError(
            "this is RankLLM's history of prompts and answers (invocations_history), which names no documents; give "
            "the file of its results, with query and candidates"
        )
    if not isinstance(value, dict) or not isinstance(value.get("query"), dict):
        raise ValueError("has no object 'query'")
    candidates = value["candidates"]
    if not isinstance(candidates, list) or not candidates:
        raise ValueError("has no list of candidates")
    ids = [value["query"]["qid"], *(each["docid"] for each in candidates)]
    wrong = next((each for each in ids if type(each) not in (str, int) or each == ""), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no id")
    query, *documents = map(str, ids)
    if len(set(documents)) < len(documents):
        again = next(each for place, each in enumerate(documents) if each in documents[:place])
        raise ValueError(f"has document {again!r} twice: it is no permutation")
    return query, documents


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has no {error.args[0]!r}"
    return "is built in another way" if isinstance(error, TypeError) else str(error)
