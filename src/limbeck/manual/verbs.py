"""The verbs: what each does, its most used keys, examples, and the page with more."""

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb of the command."""

    what: str
    """One line, for ``limbeck --help``."""
    about: str
    """A few sentences."""
    keys: tuple[str, ...]
    """Most used keys of parts; all keys of the verb itself are shown anyway."""
    examples: tuple[str, ...]
    """Words after ``limbeck``."""
    page: str


_DATA = ("data.collection", "data.train", "data.dev", "data.test", "data.dev_queries")

VERBS = {
    "mine": Verb(
        "find candidates for queries: BM25, an encoder, run files, a fusion",
        "Writes a run file for each split, and the pool that training lists are drawn from: all judged positives, and "
        "other candidates as negatives.",
        (*_DATA, "candidates.depth", "pool.first_rank", "pool.last_rank", "pool.negatives"),
        (
            "mine data.collection=beir/nfcorpus",
            "mine data.collection=beir/nfcorpus candidates=fusion out=mined/nfcorpus",
            "mine data.collection=path/to/folder candidates=run candidates.train=my.trec",
        ),
        "docs/howto/candidates.md",
    ),
    "score": Verb(
        "score candidates with a teacher, into a score store",
        "Scores only pairs that the store lacks: run the command again to continue after a kill, or to add pairs of "
        "other candidates. "
        "limbeck train reads the store with teacher=store.",
        (*_DATA, "candidates.depth"),
        (
            "score data.collection=beir/nfcorpus teacher=minilm out=scores/minilm",
            "score data.collection=path/to/folder out=scores/ce teacher=cross_encoder "
            "teacher.backbone.model=cross-encoder/ms-marco-MiniLM-L6-v2",
            "score data.collection=beir/nfcorpus teacher=seq2seq teacher.model=castorini/monot5-base-msmarco show=true",
        ),
        "docs/howto/scores.md, docs/howto/teachers.md",
    ),
    "import": Verb(
        "import public teacher scores, or your own, into a score store",
        "Reads a file as it is, compressed or not, line by line. A malformed line is named by file and number.",
        (),
        (
            "import format=table path=scores.tsv out=scores/mine teacher.name=bge kind=logit",
            "import format=trec_run path=run.trec.gz out=scores/run teacher.name=monoT5 kind=logit",
            "import format=sbert_hard_negatives path=msmarco-hard-negatives.jsonl.gz out=scores/ce",
        ),
        "docs/howto/import.md",
    ),
    "inspect": Verb(
        "inspect teacher scores before training: checks, numbers, figures",
        "With the overrides of a training it inspects exactly the scores that this training would use; with run=FILE, "
        "a TREC run alone.",
        ("data.collection", "teacher.path", "checks.ignore", "checks.queries"),
        (
            "inspect",
            "inspect data.collection=beir/nfcorpus teacher=store teacher.path=scores/minilm",
            "inspect run=teacher.trec qrels=qrels.tsv first_stage=bm25.trec out=looked_at",
        ),
        "docs/reference/checks.md",
    ),
    "train": Verb(
        "train a student, then search or re-rank with it and evaluate",
        "Without any override it distils a student on a small synthetic collection. A killed run continues from its "
        "last checkpoint; a finished one is only shown. -m runs a grid over all values separated by commas; --dry-run "
        "lists its runs.",
        (
            "data.collection",
            "loss.ckl.gamma",
            "loss.ckl.alpha",
            "teacher.path",
            "backbone.model",
            "student.query_length",
            "student.document_length",
            "sampler.negatives",
            "sampler.batch_size",
            "optim.lr",
            "trainer.epochs",
            "trainer.steps",
            "trainer.precision",
            "eval.metrics",
            "eval.pipeline",
            "paths.data",
        ),
        (
            "train loss=ckl loss.ckl.gamma=3 data.collection=beir/nfcorpus teacher=minilm",
            "train -m loss=kl,ckl seed=1,2,3 name=my_sweep",
            "train experiment=nfcorpus_minilm paths.data=path/to/beir",
        ),
        "docs/reference/losses.md, docs/howto/students.md, docs/howto/sweeps.md",
    ),
    "tune": Verb(
        "search for the best settings of limbeck train, by Optuna",
        "Each trial is a run of limbeck train; poor ones are ended early. The same command continues a study. It "
        "ends with the best settings, written as an experiment.",
        ("tune.space", "tune.trials", "tune.timeout", "tune.metric", "tune.sampler", "tune.pruner", "tune.workers"),
        (
            "tune tuning=ckl tune.trials=20 name=my_study",
            "tune tuning=losses data.collection=beir/nfcorpus teacher=minilm",
            "tune 'tune.space={optim.lr: {kind: log, low: 1e-5, high: 1e-3}}'",
        ),
        "docs/howto/tuning.md",
    ),
    "evaluate": Verb(
        "evaluate students, teachers and run files; compare finished results",
        "Values equal trec_eval's. Comparisons are tested, with a correction for their number.",
        ("eval.metrics", "eval.depth", "comparison.test", "comparison.level"),
        (
            "evaluate run=runs/train/ID eval=beir_13",
            "evaluate compare=runs/my_sweep baseline=runs/my_sweep/ID",
            "evaluate run_file=my.trec qrels=qrels.tsv 'metrics=[ndcg@10]'",
        ),
        "docs/howto/evaluation.md, docs/reference/evaluation_sets.md, docs/concepts/significance.md",
    ),
    "table": Verb(
        "put finished sweeps into a table in Markdown and LaTeX",
        "Mean and deviation over seeds, marks of significance, and the command of each row. It refuses to mix commits "
        "or data.",
        ("comparison.test", "comparison.level", "paths.runs"),
        ("table table=small_losses", "table table=small_losses partial=true", "table table=ckl2024_dense out=paper"),
        "docs/howto/tables.md",
    ),
    "report": Verb(
        "write one HTML page about the runs of a sweep",
        "Tables, curves, the weights of the terms, where a loss gains, settings and commands. The page opens without "
        "a network.",
        ("paths.runs",),
        (
            "report my_sweep",
            "report my_sweep out=my_sweep.html",
            "report my_sweep 'baseline=\"loss=[kl]\"'",
        ),
        "docs/howto/report.md",
    ),
    "export": Verb(
        "write a student as a folder that sentence-transformers loads",
        "Transformers loads it, too. It has a model card with the settings and the measured values.",
        (),
        (
            "export run=runs/train/ID out=models/mine",
            "export run=runs/train/ID/model out=models/mine",
            "export run=runs/train/ID out=models/mine backbone.layers=3",
        ),
        "docs/howto/export.md",
    ),
    "index": Verb(
        "encode a collection with a student and build an index",
        "Exact search, faiss, inverted lists or PLAID. A killed command continues where it stopped; several "
        "processes can share the work.",
        ("data.collection", "student.folder"),
        (
            "index student=saved student.folder=runs/train/ID out=indexes/mine",
            "index student=saved student.folder=runs/train/ID out=indexes/mine backend=faiss",
            "index student=saved student.folder=models/mine data.collection=beir/nfcorpus out=indexes/nf",
        ),
        "docs/howto/search.md",
    ),
    "search": Verb(
        "search an index, or re-rank a first stage with it",
        "Writes a TREC run, and evaluates it where the split is judged. Queries are those of the collection that was "
        "indexed, unless data=… names another.",
        (),
        (
            "search index=indexes/mine out=found.trec",
            "search index=indexes/mine out=dev.trec split=dev depth=100",
            "search index=indexes/mine out=reranked.trec candidates=bm25",
        ),
        "docs/howto/search.md",
    ),
}

ASIDE = {
    "help KEY": "a key, a group, a part: limbeck help loss.ckl.gamma",
    "new loss NAME": "a package of your own with a loss and its test",
    "completion SHELL": "the script of tab completion: bash, zsh or fish",
}
"""Words that need no configuration."""

PAGES = {
    "loss": "docs/reference/losses.md",
    "student": "docs/howto/students.md",
    "teacher": "docs/howto/teachers.md",
    "candidates": "docs/howto/candidates.md",
    "pool": "docs/howto/candidates.md",
    "backbone": "docs/howto/backbones.md",
    "format": "docs/howto/import.md",
    "checks": "docs/reference/checks.md",
    "eval": "docs/howto/evaluation.md",
    "eval/sets": "docs/reference/evaluation_sets.md",
    "eval/fusion": "docs/howto/pipelines.md",
    "comparison": "docs/concepts/significance.md",
    "trainer": "docs/howto/speed.md",
    "launcher": "docs/howto/sweeps.md",
    "sweeps": "docs/howto/sweeps.md",
    "logger": "docs/howto/tracking.md",
    "callbacks": "docs/howto/tracking.md",
    "card": "docs/howto/export.md",
    "debug": "docs/howto/tracking.md",
    "backend": "docs/howto/search.md",
    "table": "docs/howto/tables.md",
    "tune": "docs/howto/tuning.md",
    "tuning": "docs/howto/tuning.md",
    "experiment": "docs/reproduction/README.md",
    "data": "README.md",
}
"""Group, or first name of a key → the page with more."""
