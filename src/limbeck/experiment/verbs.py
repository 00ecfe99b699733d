"""The verbs as functions of a composed configuration, for the command and for Python.

Each function takes the configuration as composed by Hydra and the words typed, checks the configuration, prints its
result and returns it. Nothing heavy is imported before the configuration is checked.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import Config, ConfigError, FailedError, Node
from limbeck.experiment import train as training
from limbeck.experiment.messages import as_plain
from limbeck.experiment.result import Result, RunResult, SweepResult
from limbeck.experiment.run_folder import RunFolder
from limbeck.experiment.typed import Typed

if TYPE_CHECKING:
    from omegaconf import DictConfig

_KEYS = {
    "mine": "data candidates pool teacher paths launcher out splits shards accelerator force",
    "score": "data candidates pool teacher paths launcher out splits depth limit show devices shards part_size "
    "accelerator",
    "import": "format path out kind scale teacher collection on_error duplicates threads force",
    "inspect": "name seed force data candidates pool sampler teacher backbone student loss optim trainer eval checks "
    "callbacks logger paths out run qrels first_stage",
    "evaluate": "name eval candidates teacher comparison paths run run_file qrels metrics index compare baseline "
    "moved calibration accelerator force logger",
    "table": "table comparison paths out partial mix_commits mix_data",
    "report": "name out baseline paths",
    "export": "run out student backbone card",
    "index": "data backbone student backend paths launcher out dtype shard_size shard shards bf16 seed accelerator",
    "search": "data candidates backend paths launcher index out query_encoder split depth metrics timed shard shards "
    "bf16 accelerator force",
}
_HOW: dict[str, Config] = {
    "score": {"optional": ("out", "depth", "limit"), "required": ("splits",)},
    "report": {"optional": ("out",)},
    "export": {"required": ("run",)},
    "evaluate": {"optional": ("index",)},
    "inspect": {"absent": ("callbacks",)},
    "search": {"required": ("metrics",), "absent": ("data", "candidates", "backend")},
}
_OPEN_COLLECTIONS = ("mine", "score", "inspect", "index")
"""Verbs that use the collection of the run, candidates or scores they are given, where none is chosen."""


def plain(verb: str, config: "DictConfig", typed: Typed) -> Config:
    """Return a composed configuration as plain containers, checked.

    Parameters
    ----------
    verb
        Name of the verb.
    config
        As composed by Hydra.
    typed
        The words it was composed from.

    Raises
    ------
    ConfigError
        The configuration is impossible; the message names the key.
    """
    if verb == "train":
        return training.plan(config, typed.overrides)[0]
    if verb == "export":
        source, _ = config.run, config.out  # raises for a missing key before the folder is read
        if source is None:
            raise ConfigError("run must be given: run=…")
    bare = verb == "inspect" and config.run is not None  # a run file belongs to no collection
    overrides = typed.overrides if verb in _OPEN_COLLECTIONS and not bare else None
    keys = _KEYS[verb].split()
    return as_plain(config, keys, overrides=overrides, trains=verb == "inspect", **_HOW.get(verb, {}))


def train(config: "DictConfig", typed: Typed) -> Result | None:
    """Train and evaluate, or show the run if it is finished; None in the child processes of a launcher."""
    settings, folder = training.plan(config, typed.overrides)
    if settings["dry_run"]:
        return _planned(folder)
    record = training.train(settings, folder, typed.overrides)
    if record is None:
        return None
    from limbeck.reporting.terminal import show_result

    show_result(record)
    return _whole(RunResult(folder.path, record, typed.overrides), record.get("sets") or {})


def _planned(folder: RunFolder) -> Result:
    from limbeck.screen import console

    state = folder.state()
    console(soft_wrap=True).print(f"{folder.path}: {state}", markup=False, highlight=False)
    found = RunResult(folder.path, None)
    found.rows = [{"folder": str(folder.path), "state": state}]
    return found


def swept(outcomes: Sequence[Node]) -> Result:
    """Show the table of a sweep; raise ``FailedError`` with the result if a job has failed.

    Parameters
    ----------
    outcomes
        As ``limbeck.experiment.sweep.collected`` yields them.
    """
    from limbeck.experiment.sweep import check
    from limbeck.reporting.sweep_table import show

    found = SweepResult(outcomes)
    if any("state" in each for each in outcomes):
        return found  # nothing has run
    show(outcomes)
    try:
        check(outcomes)
    except FailedError as error:
        error.result = found
        raise
    return found


def _whole(found: Result, sets: Node) -> Result:
    """Return a result, or raise ``FailedError`` with it if a set is missing."""
    from limbeck.reporting.results.finished import check_whole

    try:
        check_whole(sets)
    except FailedError as error:
        error.result = found
        raise
    return found


def mine(config: "DictConfig", typed: Typed) -> Result:
    """Mine candidates, or show finished ones."""
    settings = plain("mine", config, typed)
    from limbeck.experiment.mine import mine as run
    from limbeck.experiment.mine import show

    record, out = run(settings), Path(settings["out"])
    show(record, out)
    return Result(record["splits"], out, record)


def score(config: "DictConfig", typed: Typed) -> Result:
    """Score the pairs that the store lacks, or show prompts."""
    settings = plain("score", config, typed)
    from limbeck.experiment.score import score as run

    record = run(settings)
    if record is not None and "prompts" in record:
        return Result(record["prompts"], None, record)
    return Result([] if record is None else [record], settings["out"], record)


def inspect(config: "DictConfig", typed: Typed) -> Result:
    """Write the report on a teacher's scores, and print it."""
    settings = plain("inspect", config, typed)
    from limbeck.experiment.inspect import inspect as run

    report = run(settings)
    return Result(report["findings"], settings["out"], report)


def evaluate(config: "DictConfig", typed: Typed) -> Result:
    """Evaluate, compare, or both."""
    settings = plain("evaluate", config, typed)
    from limbeck.experiment.evaluate import evaluate as run

    record = run(settings, typed.overrides)
    sets = record.get("sets") or {}
    rows = [{"set": name, **row} for name, each in sets.items() for row in each.get("rows", [])]
    return _whole(Result(rows or record.get("comparisons", []), record["folder"], record), sets)


def table(config: "DictConfig", typed: Typed) -> Result:
    """Print the table, and write it as Markdown and LaTeX."""
    settings = plain("table", config, typed)
    name = typed.chosen("table")
    if name is None:
        raise ConfigError("table must be given: table=NAME, one of conf/table")
    from limbeck.experiment.table import rows, write

    found = write(settings, name)
    return Result(rows(found), settings["out"], {"name": name})


def report(config: "DictConfig", typed: Typed) -> Result:
    """Write the HTML page of a sweep."""
    settings = plain("report", config, typed)
    from limbeck.experiment.report import report as run

    page = run(settings)
    return Result([], page.parent, {"page": str(page)})


def export(config: "DictConfig", typed: Typed) -> Result:
    """Write a student as a folder for sentence-transformers."""
    settings = plain("export", config, typed)
    from limbeck.experiment.export import export as run

    run({**settings, "run": str(config.run)})
    return Result([], settings["out"])


def import_scores(config: "DictConfig", typed: Typed) -> Result:
    """Import public scores into a store."""
    settings = plain("import", config, typed)
    from limbeck.experiment.import_scores import import_scores as run

    run(settings)
    return Result([], settings["out"])


def index(config: "DictConfig", typed: Typed) -> Result:
    """Encode the documents that the folder lacks, and build the index when all are encoded."""
    settings = plain("index", config, typed)
    from limbeck.experiment.index import index as run

    run(settings)
    return Result([], settings["out"])


def search(config: "DictConfig", typed: Typed) -> Result:
    """Search, write the run or a part of it, and evaluate it when it is complete."""
    settings = plain("search", config, typed)
    from limbeck.experiment.search import search as run

    run(settings)
    return Result([], Path(settings["out"]).parent)


def tune(config: "DictConfig", typed: Typed) -> Result:
    """Run the missing trials of a study, show the best, and write it as an experiment."""
    from limbeck.experiment.tune import tune as run

    run(config, typed.overrides, typed.config_dirs)
    return Result([])


VERBS: dict[str, Callable[["DictConfig", Typed], Result | None]] = {
    "mine": mine,
    "score": score,
    "import": import_scores,
    "inspect": inspect,
    "train": train,
    "tune": tune,
    "evaluate": evaluate,
    "table": table,
    "report": report,
    "export": export,
    "index": index,
    "search": search,
}
