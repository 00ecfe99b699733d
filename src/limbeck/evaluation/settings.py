"""Settings of an evaluation."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from limbeck.config import build
from limbeck.encodings import DType, check_dtype
from limbeck.evaluation.fusion import Fusion
from limbeck.evaluation.spelling import check_metrics
from limbeck.registry import register

_SPLITS = ("train", "dev", "test")

STAGES = ("search", "rerank", "fuse")
"""The stages of a pipeline."""


@register("eval", "evaluation", parts=("fusion", "sets"))
class Evaluation:
    """Evaluation of the systems of a run.

    Parameters
    ----------
    fusion
        Given at run time: fuses the first stage with another ranking.
    split
        Split of the final table.
    metrics
        Names, for example ``mrr@10`` (see ``limbeck.evaluation.spelling``); the first one selects the best checkpoint
        on the dev split.
    pipeline
        Stages reported for each system, in order; the last one is its result. ``search`` ranks the whole collection,
        ``rerank`` the first stage, ``fuse`` fuses the previous stage with the first stage. ``auto`` is ``[search]`` for
        a student that encodes queries and documents separately, else ``[rerank]``. Typed Any: a word or a list.
    depth
        Number of first-stage documents that are re-ranked and fused.
    search_depth
        Documents that a search returns.
    teacher, start
        Also evaluate the teacher, and the student before training.
    checkpoint
        ``best`` on dev, or ``last``.
    dev_queries, dev_depth
        Size of the validation during training: queries, and first-stage documents of each.
    dev_search
        Validate by a search: each dev query ranks the first-stage documents of all dev queries, so that documents which
        the student wrongly moves up count, too. It encodes no more documents. False re-ranks each query's own.
    bf16
        Encode and score under bfloat16 autocast.
    dtype
        Type of the documents' encodings in a search: ``float32``, or ``float16``, as in an index of half the size.
    devices
        Processes, one per device, that encode, search and re-rank; their number does not change the results.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        fusion: Fusion,
        *,
        split: str = "test",
        metrics: list[str] = ["ndcg@10", "mrr@10", "recall@100"],  # noqa: B006 - read as schema, never changed
        pipeline: Any = "auto",
        depth: int = 100,
        search_depth: int = 100,
        teacher: bool = True,
        start: bool = True,
        checkpoint: str = "best",
        dev_queries: int = 100,
        dev_depth: int = 50,
        dev_search: bool = False,
        bf16: bool = False,
        dtype: Literal["float32", "float16"] = "float32",
        devices: int = 1,
    ) -> None:
        _one_of("split", split, _SPLITS)
        if pipeline != "auto":
            _check_pipeline(pipeline)
        _one_of("checkpoint", checkpoint, ("best", "last"))
        sizes = {"depth": depth, "search_depth": search_depth, "dev_queries": dev_queries, "dev_depth": dev_depth}
        sizes |= {"devices": devices}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if not metrics:
            raise ValueError("metrics must name at least one metric")
        self.split = split
        self.metrics = check_metrics(metrics)
        self.fusion = fusion
        self.pipeline: str | list[str] = pipeline
        self.depth = depth
        self.search_depth = search_depth
        self.teacher = teacher
        self.start = start
        self.checkpoint = checkpoint
        self.dev_queries = dev_queries
        self.dev_depth = dev_depth
        self.dev_search = dev_search
        check_dtype(dtype)
        self.bf16 = bf16
        self.dtype: DType = dtype
        self.devices = devices

    def check(self, *, searches: bool) -> None:
        """Raise ``ValueError`` if the pipeline or the validation needs search and the student cannot search."""
        if not searches and self.pipeline != "auto" and "search" in self.pipeline:
            raise ValueError(
                "pipeline has search, but a student that scores pairs (a cross-encoder) cannot search a whole "
                "collection; choose auto, [rerank] or [rerank,fuse]"
            )
        if not searches and self.dev_search:
            raise ValueError(
                "dev_search needs a student that encodes queries and documents separately; a cross-encoder "
                "validates by re-ranking: eval.dev_search=false"
            )

    def stages(self, *, searches: bool) -> tuple[str, ...]:
        """Return the stages of a system; one that cannot search re-ranks instead.

        Parameters
        ----------
        searches
            Whether the system can rank the whole collection.
        """
        wanted = ["search"] if self.pipeline == "auto" else self.pipeline
        possible = [stage if searches or stage != "search" else "rerank" for stage in wanted]
        return tuple(dict.fromkeys(possible))


def evaluation(node: Mapping[str, Any]) -> Evaluation:
    """Build the settings from a configuration node; its sets are separate nodes."""
    own = {name: value for name, value in node.items() if name not in ("fusion", "sets")}
    return build(own, build(node["fusion"], key="eval.fusion"), key="eval")


def _check_pipeline(pipeline: Any) -> None:
    if not isinstance(pipeline, Sequence) or isinstance(pipeline, str):
        stage = pipeline if pipeline in STAGES else STAGES[0]
        raise ValueError(f"pipeline must be auto or a list of {', '.join(STAGES)}, got {pipeline!r}; write [{stage}]")
    if not pipeline:
        raise ValueError("pipeline is empty: nothing would be evaluated; choose auto, or some of search, rerank, fuse")
    for stage in pipeline:
        if stage not in STAGES:
            close = difflib.get_close_matches(str(stage), STAGES, 1, 0.5)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"pipeline has {stage!r}, which is none of {', '.join(STAGES)}{hint}")
        if list(pipeline).count(stage) > 1:
            raise ValueError(f"pipeline has {stage} twice; each stage is reported once")
    if pipeline[0] == "fuse":
        raise ValueError(
            "pipeline begins with fuse, which has nothing to fuse with the first stage; put search or rerank before it"
        )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
