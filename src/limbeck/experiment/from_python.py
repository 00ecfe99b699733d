"""The verbs as functions: the overrides of the command, the same run folders, results instead of printed tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import limbeck.experiment
from limbeck.config import ConfigError, FailedError
from limbeck.experiment import calling, verbs
from limbeck.experiment.messages import explain, suggest
from limbeck.experiment.result import Configuration, Result, RunResult, SweepResult
from limbeck.experiment.run_folder import console
from limbeck.experiment.typed import Typed
from limbeck.screen import recorded

if TYPE_CHECKING:
    from omegaconf import DictConfig

_PROGRAM = Path(limbeck.experiment.__file__).parents[1] / "__main__.py"
_OPTIONS = ("--config-dir", "-cd", "--dry-run")
"""Options of the command, besides overrides, that the functions accept too."""


def train(*overrides: str) -> RunResult:
    """Train a student and evaluate it, as ``limbeck train`` does; a finished run is only read.

    Parameters
    ----------
    overrides
        As the command takes them: ``"loss=ckl", "loss.ckl.gamma=3", "seed=2"``.

    Returns
    -------
    RunResult
        ``metrics`` of the student, ``rows`` of all systems, ``folder``, and ``ranker()``, which loads the trained
        student.

    Raises
    ------
    ConfigError
        The configuration is impossible; the message is the command's.
    FailedError
        A set of the evaluation is missing; ``result`` of the error has the others.

    Examples
    --------
    ```python
    result = limbeck.train("data.collection=beir/nfcorpus", "teacher=minilm", "backbone=minilm")
    print(result)
    result.ranker().rank("a query", {"d1": "a document"})
    ```
    """
    return _call("train", overrides, act=_on_one_device)


def _on_one_device(config: "DictConfig", typed: Typed) -> Result | None:
    if config.trainer.devices * config.trainer.num_nodes > 1:
        raise ConfigError(
            "trainer.devices must be 1 in limbeck.train: each further process would run the program that calls it; "
            "give the same overrides to the command limbeck train"
        )
    return verbs.train(config, typed)


def sweep(*overrides: str) -> SweepResult:
    """Run the jobs of a grid that are not finished, as ``limbeck train -m`` does, and return all of them.

    Parameters
    ----------
    overrides
        ``"loss=kl,ckl", "seed=1,2,3"``, or ``"sweeps=quick_losses"``.

    Returns
    -------
    SweepResult
        ``runs``, one ``RunResult`` each; ``rows`` of their students, with the overrides that vary.

    Raises
    ------
    FailedError
        Some runs failed. It is raised after all others have ended; ``result`` of the error has those.
    """
    return _call("train", ("-m", *overrides), several=True)


def evaluate(*overrides: str) -> Result:
    """Evaluate students, teachers and run files on sets, or compare finished results, as ``limbeck evaluate`` does.

    Parameters
    ----------
    overrides
        ``"run=runs/train/ID", "eval=beir_13"``, or ``"compare=runs/my_sweep", "baseline=kl"``.

    Returns
    -------
    Result
        ``rows`` of all systems on all sets, or the comparisons; ``record`` has both.
    """
    return _call("evaluate", overrides)


def mine(*overrides: str) -> Result:
    """Find candidates and write them with the training pool, as ``limbeck mine`` does.

    Parameters
    ----------
    overrides
        ``"data.collection=beir/nfcorpus", "candidates=fusion", "out=mined/nfcorpus"``.

    Returns
    -------
    Result
        ``rows`` of the splits; ``record["pool"]`` counts the pairs.
    """
    return _call("mine", overrides)


def score(*overrides: str) -> Result:
    """Score candidates with a teacher into a store, as ``limbeck score`` does; stored pairs are not scored again.

    Parameters
    ----------
    overrides
        ``"data.collection=beir/nfcorpus", "teacher=minilm", "out=scores/nfcorpus"``.

    Returns
    -------
    Result
        ``record`` has the counts, the provenance and the ``checksum`` of the store.
    """
    return _call("score", overrides)


def inspect(*overrides: str) -> Result:
    """Check teacher scores before training, as ``limbeck inspect`` does.

    Parameters
    ----------
    overrides
        Those of the training, or ``"run=teacher.trec", "qrels=qrels.tsv"``.

    Returns
    -------
    Result
        ``rows`` has the findings, ``record`` the whole report.
    """
    return _call("inspect", overrides)


def table(*overrides: str) -> Result:
    """Put finished sweeps into a table, as ``limbeck table`` does.

    Parameters
    ----------
    overrides
        ``"table=small_losses"``; ``"--config-dir=conf"`` for a table of your own.

    Returns
    -------
    Result
        ``rows`` has means and deviations; ``folder`` the Markdown and LaTeX.
    """
    return _call("table", overrides)


def report(*overrides: str) -> Result:
    """Write the HTML page of a sweep, as ``limbeck report NAME`` does.

    Parameters
    ----------
    overrides
        The name of the sweep, then options: ``"my_sweep", "out=my_sweep.html"``.

    Returns
    -------
    Result
        ``record["page"]`` is the path of the page.
    """
    return _call("report", overrides)


def compose(*overrides: str, verb: str = "train") -> Configuration:
    """Return the checked configuration that overrides compose, as ``limbeck train --cfg job`` shows it.

    Parameters
    ----------
    overrides
        As the command takes them.
    verb
        The verb that is configured.

    Returns
    -------
    Configuration
        A mapping, printed as YAML, with the run's ``folder`` if the verb has one.
    """

    def act(config: "DictConfig", typed: Typed) -> Configuration:
        if verb != "train":
            return Configuration(verbs.plain(verb, config, typed), None)
        plain, folder = verbs.training.plan(config, typed.overrides)
        return Configuration(plain, folder.path)

    known = [name for name in verbs.VERBS if name != "tune"]
    if verb not in known:
        raise ConfigError(f"verb must be one of {', '.join(known)}, got {verb!r}{suggest(verb, known)}")
    return _call(verb, (*overrides, "hydra.run.dir=."), act=act)  # keeps Hydra from creating the folder of the runs


def _call(verb: str, words: tuple[str, ...], *, several: bool = False, act: Any = None) -> Any:
    _check(verb, words, several=several)
    console()
    with calling.arguments([str(_PROGRAM), verb, *words]), _own_hydra(), recorded() as shown:
        try:
            found = calling.call(verb, words, act=act, several=several)
        except FailedError as error:
            if isinstance(error.result, Result):
                error.result.shown = shown
            raise
        except ConfigError:
            raise
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            raise ConfigError(message) from error
    if isinstance(found, Result):
        found.shown = shown
    return found


def _check(verb: str, words: tuple[str, ...], *, several: bool) -> None:
    """Refuse words that are not overrides: some options of the command print something else and end the program."""
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f"overrides are texts, as 'loss=kl' and 'seed=1', got {word!r}")
        if word in ("-m", "--multirun") and not several:
            other = "for several runs call limbeck.sweep" if verb == "train" else "call it once for each"
            raise ConfigError(f"limbeck.{verb} takes no {word}; {other}")
        if word[:1] == "-" and not word.startswith(_OPTIONS) and word not in ("-m", "--multirun"):
            raise ConfigError(f"{word} is an option of the command; limbeck.compose gives configurations in Python")


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Restore Hydra's state in the end: the calling program may use Hydra itself."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    before, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before, config
