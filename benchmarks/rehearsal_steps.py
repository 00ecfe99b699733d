"""The commands of ``docs/reproduction`` in their order, with what a rehearsal adds, and how the cost of each grows.

``tests/benchmarks/test_rehearsal.py`` holds the list against the pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msmarco_like as like

RULES = {
    "passages": "in passages",
    "queries": "in training queries",
    "searched": "in training queries that are searched for",
    "dev": "in evaluated queries",
    "pairs": "in scored pairs",
    "search": "in training queries × passages",
    "dev search": "in evaluated queries × passages",
    "beir": "in documents of BEIR",
    "updates": "does not grow: so many updates",
    "fixed": "does not grow",
}
"""What the time and the disk of a step are in proportion to, and in words."""


@dataclass(frozen=True)
class Sizes:
    """Of a rehearsal."""

    passages: int
    queries: int
    searched: int
    """Training queries that are searched for."""
    dev: int
    pairs: int
    beir: int
    """Documents of all sets of BEIR."""
    updates: int
    """Of each training."""
    seed: int

    def factor(self, rule: str) -> float:
        """Return how many times as much there is of it at full size."""
        passages, dev = like.PASSAGES / self.passages, like.DEV / self.dev
        return {
            "passages": passages,
            "queries": like.QUERIES / self.queries,
            "searched": like.QUERIES / self.searched,
            "dev": dev,
            "pairs": like.PAIRS / self.pairs,
            "search": passages * like.QUERIES / self.searched,
            "dev search": passages * dev,
            "beir": sum(documents for documents, _ in like.BEIR.values()) / self.beir,
        }.get(rule, 1.0)


@dataclass(frozen=True)
class Step:
    """A command of the pages."""

    name: str
    command: str
    """As the page has it."""
    rule: str = "fixed"
    """Of ``RULES``."""
    parts: Sequence[tuple[str, str]] = ()
    """Patterns of lines of its log, each with the rule of what took from the marked line before to such a line; what
    comes behind the last one grows by ``rule``."""
    more: Sequence[str] = ()
    """Words that the rehearsal adds; ``{name}`` is a field of ``Sizes``."""
    given: Sequence[str] = ()
    """Commands that are given for it, where it stands for several; empty: itself."""
    then: str = ""
    """``complete``: the run that it has written is completed by queries that were not searched for."""
    disk_rule: str = ""
    """What the disk is in proportion to; the rule if empty."""
    cut: str = ""
    """What is smaller than the page asks for, beside the collection, in words."""
    why_not: str = ""
    """Why it cannot run here; it does not then."""
    of_page: bool = True
    """False for what a page does not have: it makes alone what another command would make on its way."""


READ = ("bf16=false", "student.options={{document_length: 32}}")
"""Processors without bfloat16 emulate it, five times slower; and encoding, the GPU's work, is to cost little here."""
SHORT = "32 tokens of a passage are read, not 256"
TRAINED = (r"^trained:", "updates")
TRAIN = ("trainer.steps={updates}", "trainer.precision=32-true", "eval.bf16=false")
SHARE = ("data.train=train/medical",)
"""The training queries that are searched for."""
RERANKED = ("eval.pipeline=[rerank]", "eval.depth=100")
SAID = "it re-ranks 100 instead of a search, which the sparse retrievers' row has"
COLBERT = "student.dimension=16"
WARM = ((r"^BM25 .* ranked \d+ queries", "searched"), TRAINED)
"""A warm start: what comes before its training, its training; behind it stands its evaluation."""


def of_beir(name: str) -> tuple[str, str]:
    """Return the commands that make the first stage of a set, as the page says for those that differ."""
    key = name.partition("/")[0].replace("-", "_")
    single = name in ("trec-covid", "nq", "arguana", "webis-touche2020/v2", "scidocs", "climate-fever")
    test = "data.test=" if single else "data.test=test"
    own = " data.drop_self=true" if name in ("arguana", "quora") else ""
    mined = (
        f"limbeck mine data=collection data.collection=beir/{name} data.train=null data.dev=null {test}{own} "
        f"candidates.depth=100 splits=[test] out=ckl2024/bm25/{key}"
    )
    return mined, f"cp ckl2024/bm25/{key}/test.trec ckl2024/first_stage/{key}.trec"


PREPARATION = [
    Step(
        "download",
        "hf download --repo-type dataset sentence-transformers/msmarco-scores-ms-marco-MiniLM-L6-v2 "
        "--local-dir ckl2024/public",
        why_not="no network: the script writes files of this form",
    ),
    Step(
        "teacher",
        "limbeck import format=sbert_ce_scores path=ckl2024/public/pair/*.parquet out=ckl2024/teacher "
        "teacher.name=cross-encoder/ms-marco-MiniLM-L-6-v2 kind=logit",
        "pairs",
    ),
    Step(
        "BM25",
        "limbeck mine data=msmarco_passage data.dev=null data.test=dev/small candidates.depth=200 out=bm25",
        "search",
        [(r"^BM25 index of \S+: [\d.]+ s", "passages")],
        SHARE,
        disk_rule="passages",
        of_page=False,
        cut="the first warm start makes this otherwise: documents, index, 200 candidates a query",
    ),
    Step("warm SPLADE", "limbeck train experiment=ckl2024_splade_warm_up", "dev", WARM, (*TRAIN, *SHARE)),
    Step(
        "warm ColBERT",
        "limbeck train experiment=ckl2024_colbert_warm_up",
        "dev",
        WARM,
        (*TRAIN, *SHARE, COLBERT),
        cut="16 numbers a token, not 128",
    ),
    Step("warm dense", "limbeck train experiment=ckl2024_dense_warm_up", "dev", WARM, (*TRAIN, *SHARE)),
    Step("export SPLADE", "limbeck export run=runs/ckl2024_splade_warm_up/ID out=ckl2024/splade_warm_up"),
    Step("export ColBERT", "limbeck export run=runs/ckl2024_colbert_warm_up/ID out=ckl2024/colbert_warm_up"),
    Step("export dense", "limbeck export run=runs/ckl2024_dense_warm_up/ID out=ckl2024/dense_warm_up"),
    Step(
        "index SPLADE",
        "limbeck index student=saved student.folder=ckl2024/splade_warm_up data=msmarco_passage data.dev=null "
        "data.test=dev/small backend=inverted bf16=true out=ckl2024/index/splade",
        "passages",
        (),
        READ,
        cut=SHORT,
    ),
    Step(
        "search, training",
        "limbeck search index=ckl2024/index/splade split=train depth=20 out=ckl2024/splade.trec",
        "search",
        (),
        ("data=msmarco_passage", "data.train=train/medical", "data.dev=null", "data.test=null"),
        then="complete",
        disk_rule="searched",
    ),
    Step(
        "search, dev",
        "limbeck search index=ckl2024/index/splade split=test depth=1000 out=ckl2024/first_stage/test.trec",
        "dev search",
        disk_rule="dev",
    ),
    *(
        Step(
            f"search, DL 20{year}",
            "limbeck search index=ckl2024/index/splade data=msmarco_passage data.train=null data.dev=null depth=1000 "
            f"data.test=trec-dl-20{year}/judged out=ckl2024/first_stage/trec_dl_20{year}.trec",
            "passages",
            disk_rule="fixed",
        )
        for year in (19, 20)
    ),
    Step(
        "index ColBERT",
        "limbeck index student=saved student.folder=ckl2024/colbert_warm_up data=msmarco_passage data.dev=null "
        "data.test=dev/small dtype=float16 bf16=true out=ckl2024/index/colbert",
        "passages",
        (),
        READ,
        cut=SHORT,
    ),
    Step(
        "re-rank, ColBERT",
        "limbeck search index=ckl2024/index/colbert split=train candidates=run candidates.file=ckl2024/splade.trec "
        "out=ckl2024/colbert.trec",
        "queries",
    ),
    Step(
        "lists",
        "limbeck mine data=msmarco_passage data.dev=null data.test=null candidates=ckl2024 splits=[train] "
        "out=ckl2024/mined",
        "queries",
    ),
    Step("inspect", "limbeck inspect experiment=ckl2024_splade_ckl out=ckl2024/inspect", "queries", (), TRAIN),
]


def table(name: str) -> Step:
    """Return the command that prints a table."""
    return Step(f"table {name}", f"limbeck table table=ckl2024_{name}", more=("mix_commits=true",))


def sweep(name: str, rule: str, cut: str, *more: str) -> list[Step]:
    """Return the commands of a page: a sweep of one or two of its runs, and its table."""
    parts = ((r"^SPLADE, warm ranked", "queries"), (r"^student, start ranked", rule), TRAINED)
    given = f"limbeck train sweeps=ckl2024_{name}"
    return [Step(name, given, rule, parts, (*TRAIN, *more), cut=cut, disk_rule="dev"), table(name)]


PAGES = [
    *sweep(
        "rerankers",
        "dev",
        "2 of 18 runs; each re-ranks 200, not 1,000",
        "experiment=ckl2024_colbert_kl,ckl2024_colbert_ckl",
        "seed=1",
        "eval.depth=200",
    ),
    *sweep("sparse", "passages", "2 of 18 runs", "experiment=ckl2024_splade_kl,ckl2024_splade_ckl", "seed=1"),
    *sweep("dense", "passages", "1 of 18 runs", "experiment=ckl2024_dense_kl", "seed=1"),
    Step(
        "BEIR, sparse",
        "limbeck evaluate run=runs/ckl2024_sparse eval=beir_13 baseline=kl name=ckl2024_beir_13_sparse",
        "beir",
        cut="2 runs",
    ),
    Step(
        "BEIR, re-rankers",
        "limbeck evaluate run=runs/ckl2024_rerankers eval=beir_13 eval.pipeline=[rerank] baseline=kl "
        "name=ckl2024_beir_13_rerankers",
        "beir",
        cut="2 runs",
    ),
    Step(
        "BEIR, BM25",
        "limbeck mine data=collection data.collection=beir/nfcorpus data.train=null data.dev=null "
        "candidates.depth=100 splits=[test] out=ckl2024/bm25/nfcorpus",
        "beir",
        given=[of_beir(name)[0] for name in like.BEIR],
    ),
    Step(
        "BEIR, first stage",
        "cp ckl2024/bm25/nfcorpus/test.trec ckl2024/first_stage/nfcorpus.trec",
        given=[of_beir(name)[1] for name in like.BEIR],
    ),
    Step(
        "beir_13",
        "limbeck train sweeps=ckl2024_beir_13",
        "beir",
        (),
        (*TRAIN, "experiment=ckl2024_splade_kl,ckl2024_colbert_ckl", "seed=1", *RERANKED[:1]),
        cut="2 of 12 runs",
    ),
    table("beir_13"),
    sweep("gamma_alpha", "dev", f"1 of 20 runs; {SAID}", "loss.ckl.gamma=5", "loss.ckl.alpha=1", *RERANKED)[0],
    sweep("gamma", "dev", f"1 of 7 runs; {SAID}", "loss.ckl.gamma=5", *RERANKED)[0],
    table("gamma_alpha"),
    table("gamma"),
    *sweep("detach", "dev", f"1 of 6 runs; {SAID}", "loss.ckl.detach_weights=false", "seed=1", *RERANKED),
    *sweep("ranks", "dev", f"2 of 6 runs; {SAID}", "sampler.refresh_ranks=null,2", "seed=1", *RERANKED),
    *sweep(
        "negatives",
        "dev",
        f"1 of 24 runs; {SAID}",
        "experiment=ckl2024_splade_kl",
        "sampler.negatives=15",
        "seed=1",
        *RERANKED,
    ),
    *sweep("temperature", "dev", f"1 of 12 runs; {SAID}", "loss.ckl.teacher_temperature=1", "seed=1", *RERANKED),
]
STEPS = [*PREPARATION, *PAGES]
