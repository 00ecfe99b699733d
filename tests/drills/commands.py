"""What the drills kill, and what races: every verb that leaves something on disk, in the order of its needs.

The world is a tiny synthetic one.

All paths are relative, so that the same words in two folders must leave the same content.
"""

import sys
from importlib.util import find_spec
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


def _search(index: str, name: str, *words: str) -> Command:
    """Return a search of the index that a command leaves."""
    given = ["search", "paths.cache=cache", "accelerator=cpu", "index=index", f"out={name}.trec", "timed=0", *words]
    if any(word.startswith("index=") for word in words):
        given.remove("index=index")
    return Command(given, (index,), refuses="force=true")


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
    "search": _search("index", "search"),
    "search_faiss": _search("index", "faiss", "backend=faiss"),
    "search_rerank": _search("index", "reranked", "candidates=bm25", "candidates.depth=30"),
    # What is built of the vectors beside them: lists and a graph by faiss; PLAID where fast-plaid is installed.
    **{
        f"index_{kind}": Command(
            ["index", *_WORLD, *_STUDENT, "accelerator=cpu", "shard_size=20", "backend=faiss", f"backend.type={kind}",
             f"out={kind}"]
        )
        for kind in ("ivf", "hnsw")
    },
    **{
        f"search_{kind}": _search(f"index_{kind}", kind, f"index={kind}", "backend=faiss", f"backend.type={kind}")
        for kind in ("ivf", "hnsw")
    },
    "index_inverted": Command(
        ["index", *_WORLD, *_STUDENT, "accelerator=cpu", "student=splade", "backend=inverted", "dtype=float16",
         "out=words", "shard_size=20"]
    ),
    "search_inverted": _search("index_inverted", "inverted", "index=words"),
    "mine_dense": Command(
        ["mine", *_WORLD, "accelerator=cpu", "out=mined_dense", "candidates=saved", "candidates.dtype=float16",
         "candidates.student.folder=runs/one/ID", "candidates.depth=40", "pool.random_documents=3"],
        ("train",),
    ),
    "mine_splade": Command(
        ["mine", *_WORLD, "accelerator=cpu", "out=mined_splade", "candidates=dense",
         "student@candidates.student=splade",
         "backbone@candidates.backbone=tiny", *[f"candidates.{word}" for word in _STUDENT], "candidates.depth=40"],
    ),
}  # fmt: skip

if find_spec("fast_plaid"):
    COMMANDS["index_plaid"] = Command(
        ["index", *_WORLD, *_STUDENT, "accelerator=cpu", "student=colbert", "student.dimension=16", "backend=plaid",
         "out=plaid", "shard_size=20"]
    )  # fmt: skip
    COMMANDS["search_plaid"] = _search("index_plaid", "plaid", "index=plaid")

GROUPS = {
    "mining": ("mine", "mine_dense", "mine_splade", "score", "score_more", "import"),
    "training": ("train", "sweep", "evaluate", "report", "table"),
    "search": tuple(name for name in COMMANDS if name.startswith(("index", "search"))),
}
"""Commands that may be drilled apart from the others."""

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


def cut_small() -> None:
    """Have everything that is written by parts written in parts so small that this world has several of each."""
    from limbeck import halfway
    from limbeck.data import bm25, candidates, embeddings, folder, pooling
    from limbeck.evaluation import ranking
    from limbeck.text import token_store

    candidates.BLOCK = 7
    pooling._BLOCK = 7
    bm25._BLOCK = embeddings.BLOCK = 20
    token_store._BLOCK_TEXTS = 20
    ranking.PIECE = 32
    halfway.EVERY = 0.0
    folder.LARGE = 0  # the collection is kept as large ones are
    folder._SETTLED = -1  # else it depends on how soon a command begins whether it keeps a checksum


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
