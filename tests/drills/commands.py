"""What the drills kill: every verb that leaves something on disk, on a tiny synthetic world, in the order of its needs.

All paths are relative, so that the same words in two folders must leave the same content.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import STUDENT, TRAINING, WORLD

_WORLD = [*WORLD, "paths.cache=cache"]
_STUDENT = STUDENT
_TRAINING = [*_WORLD, *STUDENT, *TRAINING]
_TABLES = f"hydra.searchpath=[file://{Path(__file__).parent / 'conf'}]"

PUBLIC = "public.trec"
"""File beside the folders of a drill that ``import`` reads."""


class Command(NamedTuple):
    """A command to be killed."""

    words: list[str]
    needs: tuple[str, ...] = ()
    """Commands that must be complete before."""
    refuses: str = ""
    """What it says, with an exit status that is not 0, when everything is there: the repeat of a command that was
    killed after its last write and before its end."""


COMMANDS = {
    "mine": Command(["mine", *_WORLD, "out=mined", "candidates.depth=40"]),
    "score": Command(["score", *_WORLD, "accelerator=cpu", "out=scores", "part_size=100"]),
    # The same store grows by the test candidates: parts of the first attempt must not be taken for parts of this one.
    "score_more": Command(
        ["score", *_WORLD, "accelerator=cpu", "out=scores", "part_size=100", "splits=[train,test]"], ("score",)
    ),
    "import": Command(
        ["import", "format=trec_run", f"path=../{PUBLIC}", "out=imported", "kind=logit"],
        refuses="is a finished score store",
    ),
    "train": Command(["train", *_TRAINING, "name=one", "sampler.refresh_ranks=2"]),
    "sweep": Command(["train", *_TRAINING, "-m", "name=s", "loss=kl,ckl", "seed=1,2"]),
    "evaluate": Command(["evaluate", "run=runs/s", "paths.cache=cache", "accelerator=cpu"], ("sweep",)),
    "report": Command(["report", "s", "paths.cache=cache"], ("sweep",)),
    "table": Command(["table", _TABLES, "table=drill", "paths.cache=cache"], ("sweep",)),
    "index": Command(["index", *_WORLD, *_STUDENT, "accelerator=cpu", "out=index", "shard_size=20"]),
    "search": Command(
        ["search", "paths.cache=cache", "accelerator=cpu", "index=index", "out=search.trec"],
        ("index",),
        refuses="force=true",
    ),
}


def with_needs(names: list[str]) -> list[str]:
    """Return the commands and those they need, in the order of ``COMMANDS``."""
    wanted = set(names)
    for name in reversed(COMMANDS):
        if name in wanted:
            wanted.update(COMMANDS[name].needs)
    return [name for name in COMMANDS if name in wanted]


def write_public(path: Path, queries: int) -> None:
    """Write a TREC run of 1,000 documents a query: 650 queries are more than one block of a reader."""
    draw = np.random.default_rng(7)
    with path.open("w", encoding="utf-8") as file:
        for query in range(queries):
            scores = np.sort(draw.normal(size=1000))[::-1]
            documents = draw.permutation(100_000)[:1000]
            file.writelines(
                f"{query} Q0 {document} {rank} {score:.6f} public\n"
                for rank, (document, score) in enumerate(zip(documents.tolist(), scores.tolist(), strict=True), 1)
            )
