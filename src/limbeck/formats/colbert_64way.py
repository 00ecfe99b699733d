"""The 64-way training examples of ColBERTv2: one ``[qid, [pid, score], [pid, score], …]`` per line.

https://huggingface.co/datasets/colbert-ir/colbertv2.0_msmarco_64way (examples.json)
"""

from typing import Any

from limbeck.formats.jsonl import JsonLines, ScoredList
from limbeck.registry import register


@register("format", "colbert_64way")
class Colbert64Way(JsonLines):
    """Examples for ColBERTv2, without positives: the first document of an example ranks high, but may be irrelevant."""

    teacher = "MiniLM cross-encoder of ColBERTv2"
    kind = "logit"
    published = ("colbertv2.0_msmarco_64way",)
    expects = "[qid, [pid, score], [pid, score], …]"

    def scored(self, value: Any) -> ScoredList:
        """Read query, documents and scores."""
        if not isinstance(value, list) or len(value) < 2:
            raise ValueError("is no JSON array of a query and pairs")
        query, *pairs = value
        if not all(isinstance(pair, list) for pair in pairs):
            raise ValueError("has documents without scores")
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("has a pair that is not [pid, score]")
        return ScoredList(query, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
