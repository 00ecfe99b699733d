"""Re-ranking servers as teachers: vLLM, text-embeddings-inference, Jina, and compatible ones."""

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
"""Maximum pairs of a part, which is what a kill can lose."""


@register("teacher", "server")
class ServerTeacher:
    """Scores pairs with a re-ranking server, by several concurrent requests.

    Parameters
    ----------
    query_texts, document_texts
        Functions from query (document) ids to texts.
    url
        Address of the server, ``http://localhost:8000``, or the full address that ends in ``/rerank`` or ``/score``.
    form
        Format of requests and answers: ``tei`` (text-embeddings-inference), ``vllm_score``, ``vllm_rerank`` (/rerank,
        /v1/rerank, /v2/rerank), or ``jina`` (Jina, Cohere and compatible servers).
    model
        Name of the model: recorded, and sent if the form includes it.
    revision
        Revision of the model, only recorded, as servers do not report theirs.
    raw_scores
        Request scores without a sigmoid; ``jina`` does not support it.
    kind
        Kind of number of the scores (docs/howto/scores.md). null is the form's: ``logit``, or ``probability`` without
        ``raw_scores``; ``unknown`` for ``jina``.
    query_template, document_template
        Text that is sent for a query (document), with ``{query}`` (``{document}``) in it, for models that need a
        prompt.
    batch_size
        Documents per request.
    concurrency
        Number of concurrent requests.
    timeout
        Seconds without a byte of the answer after which a request fails.
    retries
        Number of retries if the server is down, busy (429) or fails (5xx).
    backoff
        Seconds before the second retry (the first is immediate), doubled for each further one, at most a minute. With
        8 retries and a backoff of 1 the server may be down for two minutes.
    bearer_from
        Name of the environment variable with the key to send as ``Authorization: Bearer …``. The key is neither stored
        nor shown.
    tolerance
        Before pairs are added to a store, known pairs are scored again; they may differ by this share of the scores'
        range.
    store
        A score store of this model (``limbeck score``): its scores are used, missing ones are requested.

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
        """Return everything that the scores depend on, except collection and address."""
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
        """Return the provenance for score stores.

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
        """Return raw float32 scores: one array per query, in the order of its list.

        Raises
        ------
        ConfigError
            The server does not answer, refuses the request, or does not return a finite score for each document; or
            its scores do not look like their declared kind.
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
                f"teacher: {self._client.url}: scores of the kind {self.number} were requested, but {why}. The server "
                "ignores raw_scores; serve the model without an activation, or set teacher.raw_scores=false "
                "teacher.kind=probability (teacher.kind=similarity for other numbers)"
            )
        return scores

    def plan(self, lists: Lists, size: int) -> Plan:
        """Split the scoring of lists into parts of at most ``size`` pairs, and at most 2048."""
        return Plan(lists, by_document=False, size=min(size, _PART))

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return the function that scores a part."""
        return by_lists(self.score, plan)

    def check_same(self, known: Sequence[Pair]) -> None:
        """Request the scores of known pairs again and compare them.

        Raises
        ------
        ConfigError
            The server's scores have changed, so its model or settings have.
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
            f"{worst.query!r}, document {worst.document!r} has {worst.score:.4g} in the store, {now[at]:.4g} from the "
            f"server ({allowed:.2g} is allowed). Its model or settings have changed: serve the store's model, choose "
            "another out=…, or raise teacher.tolerance"
        )
