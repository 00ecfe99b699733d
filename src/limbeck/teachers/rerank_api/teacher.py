"""A re-ranker behind an HTTP address as teacher: vLLM, text-embeddings-inference, Jina, or anything of their forms."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal

import numpy as np

from limbeck.config import ConfigError, fingerprint
from limbeck.plan import Plan
from limbeck.registry import register
from limbeck.scores.kinds import KINDS, Kind, Values, doubtful
from limbeck.scores.writer import Provenance
from limbeck.teachers.base import Lists, Pair
from limbeck.teachers.lists import by_lists
from limbeck.teachers.rerank_api.client import Client
from limbeck.teachers.rerank_api.forms import FORMS, PATHS, scores_of
from limbeck.text.collate import Texts

_PART = 2048
"""Pairs of a part at most: what a kill may cost."""


@register("teacher", "server")
class ServerTeacher:
    """Scores pairs by asking a server, several requests at once.

    Parameters
    ----------
    query_texts, document_texts
        Look texts up by id.
    url
        Address of the server, ``http://localhost:8000``; or the whole one, that ends with ``/rerank`` or ``/score``.
    form
        Of requests and answers: ``tei`` (text-embeddings-inference), ``vllm_score``, ``vllm_rerank`` (/rerank,
        /v1/rerank, /v2/rerank), or ``jina`` (Jina, Cohere, and who copies them).
    model
        Its name: recorded, and sent where the form has a place for it.
    revision
        Recorded with it; servers do not say theirs.
    raw_scores
        Ask for scores without a sigmoid. Not in the power of ``jina``.
    kind
        What kind of number the scores are (docs/howto/scores.md); null is what the form says: ``logit`` or, without
        ``raw_scores``, ``probability``; ``unknown`` of ``jina``.
    query_template, document_template
        What is sent in place of a text, with ``{query}`` or ``{document}`` in it, for models that want a prompt.
    batch_size
        Documents of a request.
    concurrency
        Requests at once.
    timeout
        Seconds without a byte of an answer.
    retries, backoff
        Tries after the first, where the server is down, busy (429) or fails (5xx); seconds before the third, doubled
        for each after it, a minute at most. With 8 and 1 it may be away for two minutes.
    bearer_from
        NAME of the variable of the environment with the key that is sent as ``Authorization: Bearer …``. It is neither
        stored nor shown.
    tolerance
        Before a store grows, pairs that it has are asked for again; they may differ by this share of their range.
    store
        A score store of this very model (``limbeck score``): what it has is taken from it, the rest is asked for.

    Raises
    ------
    ValueError
        An option is out of range.
    ConfigError
        The variable of ``bearer_from`` is not set.
    """

    given: ClassVar = ("query_texts", "document_texts")

    def __init__(
        self,
        query_texts: Texts,
        document_texts: Texts,
        *,
        url: str,
        form: Literal["tei", "vllm_score", "vllm_rerank", "jina"],
        model: str,
        revision: str | None = None,
        raw_scores: bool = True,
        kind: str | None = None,
        query_template: str = "{query}",
        document_template: str = "{document}",
        batch_size: int = 32,
        concurrency: int = 4,
        timeout: float = 120.0,
        retries: int = 8,
        backoff: float = 1.0,
        bearer_from: str | None = None,
        tolerance: float = 0.02,
        store: str | None = None,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        for name, value in (("batch_size", batch_size), ("concurrency", concurrency)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        for name, value in (("retries", retries), ("backoff", backoff)):
            if not value >= 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        for name, value in (("timeout", timeout), ("tolerance", tolerance)):
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")
        for name, template in (("query", query_template), ("document", document_template)):
            if f"{{{name}}}" not in template:
                raise ValueError(f"{name}_template must have {{{name}}} in it, where the text goes, got {template!r}")
        self._query_texts, self._document_texts = query_texts, document_texts
        self._form, self._form_name = FORMS[form], form
        self.name, self._revision, self._raw = model, revision, raw_scores
        said = self._form.raw if raw_scores else self._form.activated
        self.number: Kind = said if kind is None else kind  # pyright: ignore[reportAttributeAccessIssue] - checked above
        self._templates = query_template, document_template
        self._batch_size, self._concurrency, self._tolerance = batch_size, concurrency, tolerance
        address = url.rstrip("/")
        address = address if address.endswith(PATHS) else address + self._form.path
        self._client = Client(address, timeout=timeout, retries=retries, backoff=backoff, bearer_from=bearer_from)
        self.store = None if store is None else Path(store).expanduser()
        self._seen, self._lock = Values(), Lock()

    def identity(self) -> dict[str, Any]:
        """Return what the scores depend on: the model, not where it is served."""
        return {
            "kind": "server",
            "form": self._form_name,
            "model": self.name,
            "revision": self._revision,
            "raw_scores": self._raw,
            "number": self.number,
            "templates": list(self._templates),
        }

    def provenance(self, collection: str, command: str) -> Provenance:
        """Return what is recorded of its scores.

        Parameters
        ----------
        collection, command
            As in ``limbeck.scores.writer.Provenance``.
        """
        plain = self._templates == ("{query}", "{document}")
        return Provenance(
            self.name,
            self.number,
            revision=fingerprint(self.identity()),
            prompt=None if plain else " ".join(self._templates),
            max_length="as the server cuts",
            collection=collection,
            command=command,
        )

    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores, one array a query, in the order of its list.

        Raises
        ------
        ConfigError
            The server does not answer, refuses, or answers with something else than finite scores of all documents; or
            its scores are hardly of the kind that they should be.
        """
        size = self._batch_size
        asked = [
            (position, query, documents[start : start + size])
            for position, (query, documents) in enumerate(zip(query_ids, lists, strict=True))
            for start in range(0, len(documents), size)
        ]
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            answers = list(pool.map(lambda each: self._ask(each[1], each[2]), asked))
        finally:
            pool.shutdown(cancel_futures=True)
        parts: list[list[np.ndarray]] = [[np.empty(0, np.float32)] for _ in query_ids]
        for (position, _, _), scores in zip(asked, answers, strict=True):
            parts[position].append(scores)
        return [np.concatenate(each) for each in parts]

    def _ask(self, query: str, documents: Sequence[str]) -> np.ndarray:
        for_query, for_document = self._templates
        text = for_query.replace("{query}", self._query_texts([query])[0])
        texts = [for_document.replace("{document}", each) for each in self._document_texts(documents)]
        answer = self._client.post(self._form.body(self.name, text, texts, self._raw))
        try:
            scores = scores_of(answer, self._form, len(documents))
        except ValueError as error:
            raise ConfigError(f"teacher: {self._client.url}: {error} (query {query!r}); see teacher.form") from None
        with self._lock:
            self._seen.add(scores)
            why = doubtful(self.number, self._seen)
        if why:
            raise ConfigError(
                f"teacher: {self._client.url}: scores of the kind {self.number} were asked for, but {why}. The server "
                "does not obey raw_scores; serve the model without an activation, or say teacher.raw_scores=false "
                "teacher.kind=probability (teacher.kind=similarity for numbers of another kind)"
            )
        return scores

    def plan(self, lists: Lists, size: int) -> Plan:
        """Cut the scoring of lists into parts of so many pairs."""
        return Plan(lists, by_document=False, size=min(size, _PART))

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return what scores the parts."""
        return by_lists(self.score, plan)

    def check_same(self, known: Sequence[Pair]) -> None:
        """Ask for pairs whose scores are known.

        Raises
        ------
        ConfigError
            The server gives other scores now: its model or its settings have changed.
        """
        by_query = {
            query: [pair.document for pair in pairs]
            for query, pairs in groupby(sorted(known), key=lambda pair: pair.query)
        }
        now = np.concatenate(self.score(list(by_query), list(by_query.values())))
        pairs = sorted(known)
        before = np.array([pair.score for pair in pairs], dtype=np.float32)
        differences = np.abs(now - before)
        allowed = self._tolerance * max(float(np.ptp(before)), 1e-6)
        if differences.max() <= allowed:
            return
        others, at = int((differences > allowed).sum()), int(differences.argmax())
        worst = pairs[at]
        raise ConfigError(
            f"teacher: {self._client.url}: {others} of {len(pairs)} pairs of the store have other scores now: query "
            f"{worst.query!r}, document {worst.document!r} has {worst.score:.4g} there, {now[at]:.4g} from the server "
            f"({allowed:.2g} is allowed). Its model or settings have changed: serve the model that the store is of, "
            "choose another out=…, or raise teacher.tolerance"
        )
