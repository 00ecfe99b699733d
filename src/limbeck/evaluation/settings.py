"""What is evaluated, and how."""

from limbeck.registry import register

_SPLITS = ("train", "dev", "test")


@register("eval", "evaluation")
class Evaluation:
    """Evaluation of the systems of a run.

    Parameters
    ----------
    split
        Split of the final table.
    metrics
        ranx names; the first one selects the best checkpoint on the dev split.
    mode
        ``search`` ranks the whole collection, ``rerank`` the first stage; ``auto`` searches with bi-encoders.
    depth
        First-stage documents that are re-ranked.
    search_depth
        Documents that a search returns.
    teacher, start
        Also evaluate the teacher, and the student before training.
    checkpoint
        ``best`` on dev, or ``last``.
    dev_queries, dev_depth
        Size of the validation while training: queries, and first-stage documents that are re-ranked.
    bf16
        Encode and score under bfloat16 autocast.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        split: str = "test",
        metrics: list[str] = ["ndcg@10", "mrr@10", "recall@100"],  # noqa: B006 - read as schema, never changed
        mode: str = "auto",
        depth: int = 100,
        search_depth: int = 100,
        teacher: bool = True,
        start: bool = True,
        checkpoint: str = "best",
        dev_queries: int = 100,
        dev_depth: int = 50,
        bf16: bool = False,
    ) -> None:
        _one_of("split", split, _SPLITS)
        _one_of("mode", mode, ("auto", "search", "rerank"))
        _one_of("checkpoint", checkpoint, ("best", "last"))
        sizes = {"depth": depth, "search_depth": search_depth, "dev_queries": dev_queries, "dev_depth": dev_depth}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if not metrics:
            raise ValueError("metrics must name at least one metric")
        self.split = split
        self.metrics = list(metrics)
        self.mode = mode
        self.depth = depth
        self.search_depth = search_depth
        self.teacher = teacher
        self.start = start
        self.checkpoint = checkpoint
        self.dev_queries = dev_queries
        self.dev_depth = dev_depth
        self.bf16 = bf16

    def searches(self, separable: bool) -> bool:
        """Tell whether a ranker searches the whole collection; ``ValueError`` if it is asked to and cannot."""
        if self.mode == "search" and not separable:
            raise ValueError("mode must be rerank or auto: a cross-encoder cannot search a whole collection")
        return separable and self.mode != "rerank"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
