"""The command ``limbeck``: call a verb, and print errors."""

import importlib
import sys

from limbeck.cli.failing import fail
from limbeck.config import ConfigError, FailedError
from limbeck.experiment.messages import explain, suggest
from limbeck.manual.verbs import VERBS
from limbeck.processes import end_with_parent
from limbeck.progress import quiet_others
from limbeck.version import __version__

_ASIDE = ("help", "completion", "new")
"""Words that need no configuration."""


def main() -> None:
    """Run the program."""
    end_with_parent()
    quiet_others()
    words = sys.argv[1:]
    if words == ["--version"]:
        print(__version__)
        return
    debug = "--debug" in words
    try:
        _call([word for word in words if word != "--debug"])
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to continue", 130)
    except FailedError as error:
        fail(str(error), 1)
    except Exception as error:
        if debug:
            raise
        message = explain(error)
        if message is None:
            fail(f"{type(error).__name__}: {error}\n--debug shows the traceback", 1)
        fail(str(message))


def _call(words: list[str]) -> None:
    verb, *rest = words or ["--help"]
    if verb in ("-h", "--help"):
        verb, rest = "help", []
    if {"-h", "--help"} & set(rest):
        verb, rest = "help", [verb]
    if {"-sc", "--shell-completion"} & {verb, *rest}:  # the options that Hydra's own help names
        verb, rest = "completion", [word.removeprefix("install=") for word in rest if word.startswith("install=")]
    if verb in _ASIDE:
        importlib.import_module(f"limbeck.cli.{verb}").run(rest)
        return
    if verb not in VERBS:
        raise ConfigError(f"{verb!r} is no verb{suggest(verb, VERBS)}\nthe verbs are: {', '.join(VERBS)}")
    from limbeck.experiment.calling import call

    call(verb, rest)
