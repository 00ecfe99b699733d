"""Run a verb from words: compose its configuration with Hydra and call it."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError, home
from limbeck.experiment import sweep
from limbeck.experiment.groups import without_null
from limbeck.experiment.jobs import for_each_job
from limbeck.experiment.run_folder import console, main_process
from limbeck.experiment.typed import Typed, words_of
from limbeck.experiment.verbs import VERBS, swept
from limbeck.experiment.words import check, folders, with_name
from limbeck.schemas import store_schemas

if TYPE_CHECKING:
    from omegaconf import DictConfig

Act = Callable[["DictConfig", Typed], Any]
"""Called with a composed configuration and the words typed for it."""

_ONCE = {
    "inspect": "limbeck inspect writes one report; call it once for each, with another out=FOLDER",
    "tune": "limbeck tune is a search by itself: name what varies in tune.space, without -m",
}
"""Verbs that cannot sweep, with the advice to give."""


def call(verb: str, words: Sequence[str], *, act: Act | None = None, several: bool = True) -> Any:
    """Compose the configuration of a verb, and call the verb.

    Parameters
    ----------
    verb
        Name of the verb.
    words
        The words after it: overrides and options of Hydra.
    act
        Called in place of the verb.
    several
        Accept ``-m`` and ``sweeps=…``, which run several jobs.

    Returns
    -------
    Result or None
        The result of the call; of several calls, the last one's; of a sweep, the sweep's. None where nothing was
        called, as with ``--cfg job``.

    Raises
    ------
    ConfigError, FailedError
        As the verb does.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    _environment()
    given = _overrides(verb, words)
    command = sys.argv
    found: list[Any] = []
    raised: list[Exception] = []

    def task(config: "DictConfig") -> None:
        # Lightning starts the other processes of a run from sys.argv, which must therefore be what the user typed.
        with arguments(command):
            try:
                console(main=verb != "train" or main_process(config))
                own = HydraConfig.get()
                if own.mode == RunMode.MULTIRUN and (verb in _ONCE or not several):
                    raise ConfigError(_ONCE.get(verb, f"limbeck.{verb} does one thing; call it once for each"))
                dirs = [each.path for each in own.runtime.config_sources if each.provider == "command-line"]
                typed = Typed(words_of(own.overrides.task), dirs)
                found.append((act or VERBS[verb])(config, typed))
            except Exception as error:
                raised.append(error)  # Hydra would print its own line about it

    task.command = command  # pyright: ignore[reportFunctionMemberAccess]
    task.several = several  # pyright: ignore[reportFunctionMemberAccess]
    with sweep.collected() as outcomes, arguments([command[0], *given]):
        hydra.main(version_base="1.3", config_path=str(home() / "conf"), config_name=verb)(task)()
    if raised:
        raise raised[0]
    return swept(outcomes) if outcomes else (found or [None])[-1]


def _overrides(verb: str, words: Sequence[str]) -> list[str]:
    """Return the words in the order that Hydra needs: options first. Users may type them anywhere."""
    options = ["-m"] if {"-m", "--multirun"} & set(words) else []
    overrides: list[str] = []
    given = iter(word for word in words if word not in ("-m", "--multirun", "--dry-run"))
    for word in given:
        if word.startswith(("--config-dir=", "-cd=")):
            options.append(word)
        elif word in ("--config-dir", "-cd"):
            options += [word, *islice(given, 1)]
        else:
            overrides.append(word)
    if verb == "report":
        overrides = with_name(overrides)
    overrides = [*options, *overrides, *(["dry_run=true"] if "--dry-run" in words else [])]
    if verb == "train":
        overrides = for_each_job(overrides)
    check(overrides)
    store_schemas(folders(overrides))
    return without_null(verb, overrides)


def _environment() -> None:
    from limbeck.analysis.fonts import remove_stale_locks

    remove_stale_locks()
    os.environ["LIMBECK_HOME"] = str(home())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and limbeck explains the error
    # Without numba's compiler, ranx evaluates 6,980 x 1,000 results in a second; compiling takes half a minute.
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


@contextmanager
def arguments(words: list[str]) -> Iterator[None]:
    """Replace ``sys.argv`` in this context."""
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before
