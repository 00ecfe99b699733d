"""Tab completion: the words that may follow an unfinished command line."""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping

from limbeck.experiment.groups import defaults, options
from limbeck.manual.choices import groups
from limbeck.manual.keys import Key, of_option, of_verb
from limbeck.manual.shells import SHELLS
from limbeck.manual.types import choices
from limbeck.manual.verbs import ASIDE, VERBS

_FLAGS = ("--help", "--cfg", "--config-dir", "--debug", "--hydra-help")
_OF_SWEEPS = ("--multirun", "--dry-run")
_JOB = ("job", "hydra", "all")
"""Values of ``--cfg``."""


def candidates(line: str) -> list[str]:
    """Return completions of the last word of a command line; none where any text or path may follow.

    Parameters
    ----------
    line
        The command line up to the cursor; the program's name is its first word.

    Examples
    --------
    >>> candidates("limbeck tr"), candidates("limbeck train loss=cl_")
    (['train'], ['loss=cl_drd'])
    """
    _, *before, word = _split(line)
    if not before:
        return _starting(word, [*VERBS, *(each.partition(" ")[0] for each in ASIDE), "--help", "--version"])
    verb, *others = before
    if verb == "completion":
        return _starting(word, SHELLS)
    if verb == "new":
        return [] if others else _starting(word, ["loss"])
    if verb == "help":
        named = [f"{group}.{name}" for group in groups() if "/" not in group for name in options(group)]
        return (
            _values(word, groups(), {}) if "=" in word else _by_steps(word, [*VERBS, *groups(), *named, *_all_keys()])
        )
    if verb not in VERBS:
        return []
    if others and others[-1] in ("--cfg", "-c"):
        return _starting(word, _JOB)
    if word.startswith("-"):
        return _starting(word, [*_FLAGS, *(_OF_SWEEPS if verb == "train" else ())])
    inner = (group for group in ("eval/fusion", "candidates/parts") if group.partition("/")[0] in defaults(verb))
    own = [*defaults(verb), *inner]
    keys = of_verb(verb, _chosen(others))
    if "=" in word:
        return _values(word, own, keys)
    return _by_steps(word, [f"{each}=" for each in (*own, *keys)])


def _split(line: str) -> list[str]:
    """Return the words of a line; the last is the word at the cursor, empty after a space."""
    try:
        words = shlex.split(line)
    except ValueError:  # an unclosed quote
        words = re.sub("['\"]", "", line).split()
    return [*words, ""] if line[-1:].isspace() or len(words) < 2 else words


def _chosen(words: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts selected by the words before the cursor."""
    pairs = (word.partition("=") for word in words)
    return {
        group: [name for name in re.split(r"[\[\],]", value) if name in options(group)]
        for group, equals, value in pairs
        if equals and group in groups()
    }


def _values(word: str, known_groups: Collection[str], keys: Mapping[str, Key]) -> list[str]:
    """Return the values of a group or a key; in a list, ``loss=[kl,c``, those of its last item."""
    key, _, value = word.partition("=")
    if key in known_groups:
        before = value[: len(value) - len(re.split(r"[\[,]", value)[-1])]
        given = set(re.split(r"[\[,]", before))
        return _starting(word, [f"{key}={before}{name}" for name in options(key) if name not in given])
    return _starting(word, [f"{key}={each}" for each in choices(keys[key].annotation)] if key in keys else [])


def _all_keys() -> Iterator[str]:
    for verb in VERBS:
        yield from of_verb(verb)
    for group in groups():
        if "/" not in group:
            for part in options(group):
                yield from of_option(group, part)


def _by_steps(word: str, known: Iterable[str]) -> list[str]:
    """Return the words that begin with a prefix, up to the next dot after it: ``trainer.`` stands for all its keys."""
    found = [each for each in known if each.startswith(word)]
    dots = [each.find(".", len(word)) for each in found]
    return sorted({each if dot < 0 else each[: dot + 1] for each, dot in zip(found, dots, strict=True)})


def _starting(word: str, known: Iterable[str]) -> list[str]:
    return [each for each in known if each.startswith(word)]
