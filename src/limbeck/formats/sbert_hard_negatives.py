"""Hard negatives of sentence-transformers, in the edition with cross-encoder scores.

``{"qid": …, "pos": [{"pid": …, "ce-score": …}], "neg": {SYSTEM: [{"pid": …, "ce-score": …}, …], …}}``
https://sbert.net/datasets/msmarco-hard-negatives.jsonl.gz; the edition on the Hugging Face hub has only ids.
"""

from itertools import chain
from typing import Any

from limbeck.config import ConfigError
from limbeck.formats.jsonl import JsonLines, ScoredList, listed
from limbeck.registry import register


@register("format", "sbert_hard_negatives")
class SbertHardNegatives(JsonLines):
    """MS MARCO with up to 50 negatives from each of several systems; a pair found by several of them is stored once."""

    teacher = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    kind = "logit"
    published = ("msmarco-hard-negatives",)
    expects = '{"qid": …, "pos": [{"pid": …, "ce-score": …}], "neg": {SYSTEM: [{"pid": …, "ce-score": …}]}}'

    def scored(self, value: Any) -> ScoredList:
        """Read positives, then the negatives of each system."""
        positives = listed(value, "pos")
        if not isinstance(value["neg"], dict):
            raise ValueError("has no object 'neg' that gives the negatives of each system")
        every = [*positives, *chain.from_iterable(listed(value["neg"], system) for system in value["neg"])]
        if every and all(type(each) in (int, str) for each in every):
            raise ConfigError(
                "this edition of the hard negatives has ids but no scores: take the one with ce-score "
                "(https://sbert.net/datasets/msmarco-hard-negatives.jsonl.gz), or the scores by themselves "
                "(format=sbert_ce_scores)"
            )
        return ScoredList(
            value["qid"],
            [each["pid"] for each in every],
            [each["ce-score"] for each in every],
            [each["pid"] for each in positives],
        )
