"""Training lists of FlagEmbedding with the scores of a re-ranker: texts instead of ids.

``{"query": "…", "pos": ["…"], "neg": ["…", …], "pos_scores": […], "neg_scores": […]}``, as its ``add_reranker_score``
writes them. https://github.com/FlagOpen/FlagEmbedding
"""

from pathlib import Path

from limbeck.formats.training_lists import TrainingLists
from limbeck.registry import register


@register("format", "flag_embedding")
class FlagEmbedding(TrainingLists):
    """The layout ``pos_neg`` of ``training_lists`` under its own name.

    Parameters
    ----------
    store
        Folder of the store that is being written.
    collection
        Folder of the BEIR folder to write: corpus.jsonl, queries.jsonl, qrels/train.tsv. Null is the store's folder
        with ``.collection`` after its name.
    """

    expects = '{"query": "…", "pos": ["…"], "neg": ["…"], "pos_scores": [1.2], "neg_scores": [-0.3]}'

    def __init__(self, store: Path, *, collection: str | None = None) -> None:
        super().__init__(store, collection=collection)
