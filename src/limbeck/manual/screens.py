"""The help screens of the command, of a verb, and of ``limbeck help WORD``, in 80 columns."""

import textwrap
from collections.abc import Iterable, Mapping

from limbeck.config import ConfigError
from limbeck.docstrings import line, plain
from limbeck.experiment.groups import defaults, options
from limbeck.experiment.messages import suggest
from limbeck.manual.choices import about, groups, registered, title
from limbeck.manual.finding import Found, below, found_keys, similar, verbs_of
from limbeck.manual.keys import Key, of_option, of_verb, own
from limbeck.manual.types import kind_of, shown, words
from limbeck.manual.verbs import ASIDE, PAGES, VERBS
from limbeck.version import __version__

WIDTH = 80
_LEFT = 32
"""Width of the left column, with names and values."""
_LISTED = 3
"""Most lines for a group's names on the screen of a verb."""

_COMMAND = """\
limbeck {version}: distil rankers

  limbeck VERB [GROUP=NAME ...] [KEY=VALUE ...]

{verbs}

{aside}

A verb, its groups and keys:   limbeck VERB --help
All keys with their values:    limbeck VERB --cfg job
A grid of runs:                limbeck train -m loss=kl,ckl seed=1,2,3
The runs of a grid, listed:    limbeck train -m ... --dry-run
Tracebacks:                    --debug
Hydra's own options:           limbeck VERB --hydra-help
"""


def of_command() -> str:
    """Return the screen of ``limbeck --help``."""
    verbs = _columns({name: verb.what for name, verb in VERBS.items()})
    return _COMMAND.format(version=__version__, verbs=verbs, aside=_columns(ASIDE))


def of_verb_named(verb: str) -> str:
    """Return the screen of ``limbeck VERB --help``.

    Parameters
    ----------
    verb
        One of ``limbeck.manual.verbs.VERBS``.
    """
    described, keys = VERBS[verb], of_verb(verb)
    used = {key: keys[key] if key in keys else _to_give(key) for key in described.keys}
    ending = (
        "limbeck help KEY explains any key, limbeck help GROUP its parts; "
        f"limbeck {verb} --cfg job shows all keys with their values. Read on: {described.page}"
    )
    blocks = [_wrapped(f"limbeck {verb}: {described.what}"), _wrapped(described.about)]
    blocks.append("\n".join(["Examples", *map(_command, described.examples)]))
    if defaults(verb):
        blocks.append(f"Groups with their defaults, and the parts to choose from\n{_groups(verb)}")
    blocks.append(f"Keys{' used most' if described.keys else ''}\n{_keys((own(verb) | used).values())}")
    return "\n\n".join([*blocks, _wrapped(ending)])


def of_word(word: str) -> str:
    """Return the screen of ``limbeck help WORD``.

    Parameters
    ----------
    word
        A verb, a group (``loss``), a part (``loss.ckl``, ``loss=ckl``), a key (``loss.ckl.gamma``), or a node of keys
        (``data.world``).

    Raises
    ------
    ConfigError
        There is no such thing; the message names similar words.
    """
    word = word.lstrip("+~-")
    if word in (each.partition(" ")[0] for each in ASIDE):
        return of_command()
    if word in VERBS:
        return of_verb_named(word)
    if word.replace(".", "/") in groups():
        return _of_group(word.replace(".", "/"))
    key, equals, part = word.partition("=")
    if key in groups() and part in options(key):
        return _of_part(key, part)
    found = found_keys(key)
    if found:
        return _of_key(found)
    group, _, part = key.rpartition(".")
    group = group if group in groups() else group.replace(".", "/")
    if not equals and group in groups() and part in options(group):
        return _of_part(group, part)
    inside = below(key)
    if inside:
        keys = _keys(each.key for each in inside)
        return "\n\n".join([f"{key}: what lies there", keys, _ending(verbs_of(inside), key)])
    raise ConfigError(_unknown(word, key))


# -- parts of a screen ----------------------------------------------------------------------------------------------


def _unknown(word: str, key: str) -> str:
    """Return the message about an unknown word."""
    root, _, _ = key.partition(".")
    if root == "hydra":
        return f"{word} is Hydra's: limbeck VERB --hydra-help, and https://hydra.cc/docs/configure_hydra/intro"
    parts = [f"{group}.{each}" for group in groups() for each in options(group)]
    close = [name for name in parts if name.endswith(f".{word}")] + similar(key.rpartition(".")[2])[:4]
    hint = (
        f"; did you mean {' or '.join(close)}?" if close else suggest(key, dict.fromkeys([*VERBS, *groups(), *parts]))
    )
    page = f"{_page(root)}\n" if root in groups() and root != key else ""
    return f"{word} is no key, group or verb{hint}\n{page}limbeck VERB --cfg job shows all keys of a verb"


def _to_give(name: str) -> Key:
    """Return a key of parts that must be selected first, from a part that requires it, if there is one."""
    found = [each.key for each in found_keys(name)]
    return next((key for key in found if key.default is ...), found[0])


def _groups(verb: str) -> str:
    lines = []
    for group, name in defaults(verb).items():
        given = f"[{','.join(name)}]" if isinstance(name, list) else shown(name)
        others = [each for each in options(group) if each not in (name, "default")]
        start = f"  {group}" if name in (None, "???") else f"  {group}={given}"
        every = textwrap.wrap(", ".join(others), WIDTH - 4, break_on_hyphens=False)
        if len(every) > _LISTED:
            rest = f" … {len(others)} in all: limbeck help {group}"
            every = [
                *every[: _LISTED - 1],
                textwrap.shorten(every[_LISTED - 1], WIDTH - 5 - len(rest), placeholder="") + rest,
            ]
        one_line = len(every) == 1 and len(every[0]) <= WIDTH - 26
        lines += [f"{start:<24}  {every[0]}"] if one_line else [start, *(f"    {each}" for each in every)]
    return "\n".join(lines)


def _keys(keys: Iterable[Key]) -> str:
    return _columns({_assigned(key): plain(key.text) for key in keys}, cut=True)


def _assigned(key: Key) -> str:
    value = "..." if key.default is ... else shown(key.default)
    return textwrap.shorten(f"{key.name}={value}", WIDTH - 4, placeholder="…")


def _of_group(group: str) -> str:
    named = [name for verb in groups()[group] for each, name in defaults(verb).items() if each == group]
    default = next((name[0] if isinstance(name, list) else name for name in named if name), None)
    keys = of_option(group, default) if default in options(group) else {}
    blocks = [
        _wrapped(f"{group}: a group of limbeck {', '.join(groups()[group])}"),
        f"Parts, {group}=NAME\n{_columns({name: title(group, name) for name in options(group)}, cut=True)}",
    ]
    if keys:
        blocks.append(f"Keys of {group}={default}\n{_keys(keys.values())}")
    blocks.append(_wrapped(f"limbeck help {group}=NAME shows the keys of another part. {_page(group)}"))
    return "\n\n".join(blocks)


def _of_part(group: str, name: str) -> str:
    keys = of_option(group, name)
    blocks = [f"{group}={name}", *map(_wrapped, about(group, name))]
    if keys:
        blocks.append(f"Keys\n{_keys(keys.values())}")
    entry = registered(group, name)
    documented = group == "loss" and entry is not None and entry.path.startswith(f"limbeck.losses.{name}.")
    return "\n\n".join([*blocks, _ending(groups()[group], group, name if documented else "")])


def _of_key(found: list[Found]) -> str:
    """Return the explanations of a key in all parts that have it; equal ones appear once."""
    said: dict[tuple[str, str], list[Found]] = {}
    for each in found:
        said.setdefault((each.key.annotation, each.key.text), []).append(each)
    blocks = [found[0].key.name]
    for (annotation, text), those in said.items():
        kind = words(annotation) if annotation else kind_of(those[0].key.default)
        values = list(dict.fromkeys(_default(each) for each in those))
        others = "; others in other parts" if len(values) > 1 else ""
        blocks.append(_wrapped(f"{_places(those)}: {f'{kind}; ' if kind else ''}{values[0]}{others}"))
        blocks += [_wrapped(plain(block), "  ") for block in text.split("\n\n") if plain(block)]
    return "\n\n".join([*blocks, _ending(verbs_of(found), found[0].group or found[0].key.name)])


def _default(found: Found) -> str:
    return "must be given" if found.key.default is ... else f"default {shown(found.key.default)}"


def _places(found: list[Found]) -> str:
    """Return the places of a key: ``student=dense, colbert``, ``limbeck mine, score``."""
    names: dict[str, list[str]] = {}
    for each in found:
        names.setdefault(f"{each.group}=" if each.group else "limbeck ", []).append(each.name)
    return ", ".join(f"{start}{', '.join(those)}" for start, those in names.items())


def _ending(verbs: list[str], group: str, part: str = "") -> str:
    page = _page(group)
    page = f"{page}#{part}" if part else page
    return _wrapped(f"Verbs: {', '.join(verbs)}. {page}".strip())


def _page(group: str) -> str:
    page = PAGES.get(group) or PAGES.get(group.partition("/")[0])
    return f"Read on: {page}" if page else ""


def _columns(rows: Mapping[str, str], *, cut: bool = False) -> str:
    """Return two columns; a text on the right that does not fit is cut, or begins on a new line."""
    left = min(max(map(len, rows), default=0), _LEFT)
    room = WIDTH - left - 4
    lines = []
    for name, text in rows.items():
        shown_text = line(text, room) if cut else text
        lines += (
            [f"  {name}", f"  {'':<{left}}  {shown_text}"] if len(name) > left else [f"  {name:<{left}}  {shown_text}"]
        )
    return "\n".join(each.rstrip() for each in lines)


def _command(words: str) -> str:
    """Return a command for a shell, on several lines if it is long."""
    lines = textwrap.wrap(f"limbeck {words}", WIDTH - 8, break_on_hyphens=False, break_long_words=False)
    return "  " + " \\\n      ".join(lines)


def _wrapped(text: str, start: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False, break_long_words=False
    )
