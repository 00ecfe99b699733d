"""SimLM's training lists with the logits of its re-ranker: ``kd_train.jsonl`` of intfloat/simlm-msmarco.

``{"query_id": …, "query": …, "positives": {"doc_id": […], "score": […]}, "negatives": {"doc_id": […], "score": […]}}``
https://huggingface.co/datasets/intfloat/simlm-msmarco
"""

from typing import Any

from limbeck.formats.jsonl import JsonLines, ScoredList, listed
from limbeck.registry import register


@register("format", "simlm")
class SimLM(JsonLines):
    """MS MARCO with positives and about 200 negatives per query. Only the ``kd_`` files have the re-ranker's scores."""

    teacher = "SimLM re-ranker"
    kind = "logit"
    published = ("/kd_train", "/kd_dev")
    expects = '{"query_id": …, "positives": {"doc_id": […], "score": […]}, "negatives": {"doc_id": […], "score": […]}}'

    def scored(self, value: Any) -> ScoredList:
        """Read positives, then negatives."""
        if not isinstance(value, dict):
            raise ValueError("is no JSON object")
        documents, scores = [], []
        for part in ("positives", "negatives"):
            found, given = listed(value[part], "doc_id"), listed(value[part], "score")
            if len(found) != len(given):
                raise ValueError(f"has {len(found)} {part}, but {len(given)} scores of them")
            documents += found
            scores += given
        return ScoredList(value["query_id"], documents, scores, value["positives"]["doc_id"])
