"""Request and answer formats of re-ranking servers: a request has one query and several documents.

| form | path | request | answer, a list of {index, score} |
|---|---|---|---|
| ``tei`` | /rerank | query, texts, raw_scores | the list |
| ``vllm_score`` | /score | model, text_1, text_2, use_activation | in ``data`` |
| ``vllm_rerank`` | /rerank, /v1/…, /v2/… | model, query, documents, use_activation | in ``results`` (relevance_score) |
| ``jina`` | /v1/rerank | model, query, documents, top_n | in ``results`` (relevance_score) |

References
----------
https://huggingface.github.io/text-embeddings-inference (its openapi.json),
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, https://api.jina.ai/redoc. Cohere's /v2/rerank and
compatible servers have the form ``jina``.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from limbeck.scores.kinds import Kind

Body = Callable[[str, str, Sequence[str], bool], dict[str, Any]]
"""Function from model, query, documents and raw to a request's body."""


class Form(NamedTuple):
    """Format of requests and answers."""

    path: str
    """Path that is appended to an address that ends in none of ``PATHS``."""
    body: Body
    listed: str | None
    """Key of the list of scores in the answer; None if the answer is the list."""
    score: str
    """Key of the score in an element of the list."""
    raw: Kind
    """Kind of the scores without an activation."""
    activated: Kind
    """Kind of the scores with an activation."""

    @property
    def expects(self) -> str:
        """Example of an answer, for messages."""
        inner = f'[{{"index": 0, "{self.score}": 1.5}}, …]'
        return inner if self.listed is None else f'{{"{self.listed}": {inner}}}'


PATHS = ("/rerank", "/score")
"""Endings of full addresses."""


def _tei(model: str, query: str, documents: Sequence[str], raw: bool) -> dict[str, Any]:
    del model  # a server has one model
    return {"query": query, "texts": list(documents), "raw_scores": raw, "return_text": False, "truncate": True}


def _vllm_score(model: str, query: str, documents: Sequence[str], raw: bool) -> dict[str, Any]:
    return {"model": model, "text_1": query, "text_2": list(documents), **_vllm(raw)}


def _vllm_rerank(model: str, query: str, documents: Sequence[str], raw: bool) -> dict[str, Any]:
    return {"model": model, "query": query, "documents": list(documents), "top_n": len(documents), **_vllm(raw)}


def _vllm(raw: bool) -> dict[str, Any]:
    return {"use_activation": not raw, "truncate_prompt_tokens": -1}  # -1: the model's maximum


def _jina(model: str, query: str, documents: Sequence[str], raw: bool) -> dict[str, Any]:
    del raw  # not an option of this form
    count = len(documents)
    return {"model": model, "query": query, "documents": list(documents), "top_n": count, "return_documents": False}


FORMS = {
    "tei": Form("/rerank", _tei, None, "score", "logit", "probability"),
    "vllm_score": Form("/score", _vllm_score, "data", "score", "logit", "probability"),
    "vllm_rerank": Form("/rerank", _vllm_rerank, "results", "relevance_score", "logit", "probability"),
    "jina": Form("/v1/rerank", _jina, "results", "relevance_score", "unknown", "unknown"),
}


def scores_of(answer: Any, form: Form, count: int) -> np.ndarray:
    """Return the scores of an answer in the order of the documents, (count,) float32.

    Raises
    ------
    ValueError
        The answer has another format, lacks a document or has one twice, or a score is not a finite number.
    """
    rows = answer if form.listed is None else answer.get(form.listed) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        keys = f"an object with the keys {', '.join(answer)}" if isinstance(answer, dict) else _named(answer)
        raise ValueError(f"the answer should be {form.expects}, and is {keys}")
    found: dict[int, float] = {}
    for row in rows:
        index, score = row.get("index"), row.get(form.score)
        if type(index) is not int or form.score not in row:
            raise ValueError(
                f"the answer should be {form.expects}, and has an element with {', '.join(row) or 'nothing'}"
            )
        if not 0 <= index < count:
            raise ValueError(f"the answer has the index {index}, of {count} documents that count from 0")
        if index in found:
            raise ValueError(f"the answer has the index {index} twice")
        if type(score) not in (int, float) or not math.isfinite(score):
            raise ValueError(f"the score of document {index} is {score!r}, no finite number")
        found[index] = score
    if len(found) < count:
        absent = next(index for index in range(count) if index not in found)
        raise ValueError(f"the answer has {len(found)} scores for {count} documents, and none of document {absent}")
    return np.array([found[index] for index in range(count)], dtype=np.float32)


def _named(answer: Any) -> str:
    kinds = {list: "a list that does not hold objects", str: "a text", type(None): "null"}
    return kinds.get(type(answer), f"{answer!r}")
