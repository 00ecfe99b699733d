"""The command ``limbeck``: finds the verb, composes its configuration, calls it. Nothing heavy is imported here."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from limbeck.cli.failing import fail
from limbeck.cli.typed import Typed
from limbeck.config import FailedError
from limbeck.experiment.groups import listing, without_null
from limbeck.experiment.messages import explain, suggest
from limbeck.experiment.words import check, folders
from limbeck.processes import end_with_parent
from limbeck.version import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = {
    "mine": "find the candidates of the training queries: by BM25, an encoder, run files, or their fusion",
    "score": "score candidates with a teacher, into a score store",
    "import": "bring public teacher scores into a score store",
    "inspect": "look at teacher scores before training: checks, numbers, pictures",
    "train": "train a student, then search or re-rank with it and evaluate",
    "tune": "search for the best settings of limbeck train, by Optuna: pruned, resumable, ends with an experiment",
    "evaluate": "evaluate students, teachers and run files on known collections; compare what is finished",
    "table": "finished sweeps as a table in Markdown and LaTeX, with the commands of its rows",
    "report": "one HTML page about the runs of a sweep: tables, curves, figures, settings, commands",
    "export": "write a student as a folder that sentence-transformers and transformers load",
    "index": "encode a collection with a student and build an index: exact, faiss, inverted lists, PLAID",
    "search": "search an index, or re-rank a first stage by it: a TREC run and its metrics",
}
_MODULES = {"import": "import_scores"}  # where the verb is a word of Python
_ONCE = {
    "inspect": "limbeck inspect writes one report; call it once for each, with another out=FOLDER",
    "tune": "limbeck tune is a search by itself: name what varies in tune.space, without -m",
}
"""Verbs that do not sweep, and what to do instead."""

_HELP = """\
limbeck {version}: distil rankers

  limbeck VERB [OVERRIDES]

{verbs}

Overrides are Hydra's:    limbeck train loss=ckl loss.ckl.gamma=3 data.collection=beir/nfcorpus
What there is to set:     limbeck VERB --cfg job
A sweep:                  limbeck train sweeps=quick_losses, or limbeck train -m loss=kl,ckl seed=1,2,3
Its runs, without making any:   limbeck train sweeps=quick_losses --dry-run
Tracebacks:               --debug
Hydra's own options:      limbeck VERB --hydra-help
"""


def main() -> None:
    """Run the program."""
    end_with_parent()
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(_HELP.format(version=__version__, verbs="\n".join(f"  {v:<{width}}  {t}" for v, t in VERBS.items())))
        return
    if words[0] == "--version":
        print(__version__)
        return
    verb, *rest = words
    if verb not in VERBS:
        fail(f"{verb!r} is no verb{suggest(verb, VERBS)}; the verbs are: {', '.join(VERBS)}")
    if rest in (["-h"], ["--help"]):
        print(f"limbeck {verb}: {VERBS[verb]}\n\n{listing(verb)}\n")
        print(f"limbeck {verb} --cfg job  shows every key with its value.")
        return
    debug = "--debug" in rest
    try:
        # Hydra wants its flag before the overrides; users put it anywhere.
        sweep = ["-m"] if {"-m", "--multirun"} & set(rest) else []
        dry = ["dry_run=true"] if "--dry-run" in rest else []
        words = [word for word in rest if word not in ("--debug", "--dry-run", "-m", "--multirun")]
        _compose_and_call(verb, sweep + words + dry)
    except KeyboardInterrupt:
        fail("interrupted; give the same command again to go on", 130)
    except FailedError as error:
        fail(str(error), 1)
    except Exception as error:
        if debug:
            raise
        message = explain(error)
        if message is None:
            fail(f"{type(error).__name__}: {error}\n--debug shows where this comes from", 1)
        fail(str(message))


def _environment() -> None:
    from limbeck.analysis.fonts import remove_stale_locks
    from limbeck.config import home

    remove_stale_locks()
    os.environ["LIMBECK_HOME"] = str(home())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and main() explains
    # Without compiling, ranx evaluates 6,980 x 1,000 results in a second; compiling it takes half a minute.
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


def _compose_and_call(verb: str, overrides: list[str]) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from limbeck.config import ConfigError, home
    from limbeck.schemas import store_schemas

    _environment()
    module = importlib.import_module(f"limbeck.cli.{_MODULES.get(verb, verb)}")
    words: Callable[[list[str]], list[str]] | None = getattr(module, "words", None)
    if words is not None:
        overrides = words(overrides)  # a verb may take words that are no overrides
    check(overrides)
    store_schemas(folders(overrides))
    overrides = without_null(verb, overrides)
    arguments = sys.argv

    raised: list[Exception] = []

    def task(config: "DictConfig") -> None:
        # Lightning starts the other processes of a run from sys.argv, so it must be what the user typed.
        with _arguments(arguments):
            try:
                hydra = HydraConfig.get()
                if hydra.mode == RunMode.MULTIRUN and verb in _ONCE:
                    raise ConfigError(_ONCE[verb])
                sources = hydra.runtime.config_sources
                dirs = [each.path for each in sources if each.provider == "command-line"]
                module.run(config, Typed([str(word) for word in hydra.overrides.task], dirs))
            except Exception as error:
                raised.append(error)  # Hydra would print a line of its own about it

    task.command = arguments  # pyright: ignore[reportFunctionMemberAccess]
    with _arguments([arguments[0], *overrides]):
        hydra.main(version_base="1.3", config_path=str(home() / "conf"), config_name=verb)(task)()
    if raised:
        raise raised[0]
    finish: Callable[[], None] | None = getattr(module, "finish", None)
    if finish is not None:
        finish()


class _arguments:  # noqa: N801 - reads as a statement
    def __init__(self, arguments: list[str]) -> None:
        self._new = arguments

    def __enter__(self) -> None:
        self._old, sys.argv = sys.argv, self._new

    def __exit__(self, *error: object) -> None:
        sys.argv = self._old
