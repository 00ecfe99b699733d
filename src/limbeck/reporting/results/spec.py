"""The YAML of a table, checked. docs/howto/tables.md describes the keys."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck import labels
from limbeck.config import ConfigError
from limbeck.evaluation.spelling import spelling
from limbeck.reporting.results.finished import BESIDE
from limbeck.reporting.results.naming import text
from limbeck.reporting.results.published import Published, published

ALSO = ("first_stage", "teacher", "start")
"""Systems that runs evaluate besides their student."""

_MUST = ("caption", "runs", "rows")
_MAY = (
    "columns", "also", "baseline", "expect", "seeds", "order", "titles", "labels", "digits", "published", "regret",
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """The checked YAML of a table."""

    caption: str
    runs: tuple[str, ...]
    rows: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...] | None] | None
    """Set → metrics; None for all."""
    also: tuple[str, ...]
    baseline: Mapping[str, str]
    """Row key → value of the baseline row; empty for none."""
    against: str
    """``first_stage`` or ``teacher``, as baseline of all rows; empty for neither."""
    expect: tuple[Mapping[str, tuple[str, ...]], ...]
    seeds: int | None
    order: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]]
    digits: int
    published: tuple[Published, ...]
    regret: str = ""
    """Row key whose values are compared by regret; empty for none."""

    def title(self, name: str) -> str:
        """Return the heading of a row key, a set or a metric."""
        return self.titles.get(name) or labels.heading(name)

    def label(self, key: str, value: str) -> str:
        """Return the label of a row key's value, without options that distinguish it."""
        return self.labels.get(key, {}).get(value) or labels.value(key, value)


def read_spec(given: Any, *, key: str = "table") -> Spec:
    """Check a table's node.

    Parameters
    ----------
    given
        Plain containers.
    key
        Key of the node, for messages.

    Raises
    ------
    ConfigError
        A key is unknown or missing, or has a value of the wrong type; the message names it.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key} must be a mapping, got {given!r}; choose one: {key}=NAME")
    for name in given:
        if name not in (*_MUST, *_MAY):
            close = difflib.get_close_matches(str(name), [*_MUST, *_MAY], 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{key}.{name} is no key of a table{meant}\nknown here: {', '.join((*_MUST, *_MAY))}")
    for name in _MUST:
        if not given.get(name):
            raise ConfigError(f"{key}.{name} must be given")
    rows = _words(given["rows"], f"{key}.rows")
    if "seed" in rows:
        raise ConfigError(f"{key}.rows: values are averaged over seeds, so seed makes no rows")
    baseline = given.get("baseline")
    against = baseline if isinstance(baseline, str) and baseline in BESIDE else ""
    order = {name: _words(each, f"{key}.order.{name}") for name, each in _keyed(given, "order", key, rows).items()}
    return Spec(
        caption=str(given["caption"]).rstrip("."),
        runs=_words(given["runs"], f"{key}.runs"),
        rows=rows,
        columns=_columns(given.get("columns"), f"{key}.columns"),
        also=_also(given.get("also"), f"{key}.also"),
        baseline={} if against else {name: text(each) for name, each in _keyed(given, "baseline", key, rows).items()},
        against=against,
        expect=_expect(given.get("expect"), f"{key}.expect", rows),
        seeds=_number(given.get("seeds"), f"{key}.seeds", 1),
        order=order,
        titles={str(name): str(each) for name, each in _mapping(given.get("titles"), f"{key}.titles").items()},
        labels={
            name: {text(value): str(label) for value, label in _mapping(each, f"{key}.labels.{name}").items()}
            for name, each in _keyed(given, "labels", key, rows).items()
        },
        digits=_number(given.get("digits"), f"{key}.digits", 1) or 3,
        published=tuple(published(given.get("published"), key=f"{key}.published")),
        regret=_one_of_rows(given.get("regret"), f"{key}.regret", rows),
    )


def _one_of_rows(given: Any, key: str, rows: tuple[str, ...]) -> str:
    if given is not None and given not in rows:
        raise ConfigError(f"{key} must be one of the row keys ({', '.join(rows)}), got {given!r}")
    return given or ""


def _mapping(given: Any, key: str) -> Mapping[Any, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key} must be a mapping, got {given!r}")
    return given


def _keyed(given: Mapping[str, Any], name: str, key: str, rows: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a mapping, after checking that its keys are row keys."""
    found = _mapping(given.get(name), f"{key}.{name}")
    for each in found:
        if each not in rows:
            raise ConfigError(f"{key}.{name} has {each!r}, which is not in {key}.rows ({', '.join(rows)})")
    return found


def _words(given: Any, key: str) -> tuple[str, ...]:
    words = tuple(text(each) for each in (given if isinstance(given, list) else [given]))
    if len(set(words)) < len(words):
        raise ConfigError(f"{key} names something twice: {', '.join(words)}")
    return words


def _columns(given: Any, key: str) -> dict[str, tuple[str, ...] | None] | None:
    if given is None:
        return None
    return {
        str(group): None if metrics is None else tuple(map(_metric, _words(metrics, f"{key}.{group}")))
        for group, metrics in _mapping(given, key).items()
    }


def _metric(name: str) -> str:
    """Return a metric in limbeck's spelling; unknown names are searched for in the runs unchanged."""
    try:
        return spelling(name)
    except ValueError:
        return name


def _also(given: Any, key: str) -> tuple[str, ...]:
    words = () if given is None else _words(given, key)
    for word in words:
        if word not in ALSO:
            raise ConfigError(f"{key} has {word!r}; it may have {', '.join(ALSO)}")
    return words


def _expect(given: Any, key: str, rows: tuple[str, ...]) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    if given is None:
        return ()
    every = given if isinstance(given, list) else [given]
    return tuple(
        {
            name: _words(values, f"{key}.{name}")
            for name, values in _keyed({"expect": each}, "expect", key.rpartition(".")[0], rows).items()
        }
        for each in every
    )


def _number(given: Any, key: str, least: int) -> int | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < least):
        raise ConfigError(f"{key} must be a whole number >= {least}, got {given!r}")
    return given
