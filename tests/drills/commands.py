"""What the drills kill, and what races: every verb that leaves something on disk, in the order of its needs.

The world is a tiny synthetic one.

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
    """``runs/one/ID`` is the folder of the run that ``train`` leaves."""
    needs: tuple[str, ...] = ()
    """Commands that must be complete before."""
    refuses: str = ""
    """What it says, with an exit status that is not 0, when everything is there: the repeat of a command that was
    killed after its last write and before its end."""
    together: int = 8
    """At most so many of it race one another."""

    def within(self, place: Path) -> list[str]:
        """Return the words as they are typed in a folder."""
        found = next((place / "runs" / "one").glob("*/result.json"), None)
        return [word.replace("one/ID", f"one/{found.parent.name}") if found else word for word in self.words]


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

RACED = COMMANDS | {
    "inspect": Command(["inspect", *_TRAINING, "out=inspected"]),
    "export": Command(["export", "run=runs/one/ID", "out=exported"], ("train",)),
    # Their jobs are processes that import everything anew.
    "joblib": Command(
        ["train", *_TRAINING, "-m", "name=s", "loss=kl,ckl", "seed=1,2", "launcher=joblib", "launcher.workers=2"],
        together=4,
    ),
    "tune": Command(
        ["tune", *_TRAINING, "name=t", "tune.space={optim.lr: {kind: choice, values: ['1e-2', '1e-3']}}",
         "tune.sampler=grid", "tune.trials=2"],
        together=4,
    ),
}  # fmt: skip
"""What races beside that: also where a kill costs nothing that the others do not show."""


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
