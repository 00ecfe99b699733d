"""Regret: how far each system is below the best one in each setting, and where the distance is largest."""

from collections.abc import Mapping, Sequence

import numpy as np

from limbeck.config import ConfigError
from limbeck.reporting.results.cells import Regret, Table, TableRow
from limbeck.reporting.results.marking import values_of

RESAMPLES = 1000
_SEED = 13


def add_regrets(table: Table) -> None:
    """Put the regret of each value of the row key `table.regret` into a table, smallest first.

    A setting is a combination of the other row keys, on one set by one metric. Per setting and system, per-query values
    are averaged over seeds. Settings that lack a system are left out, and the notes name them. For the interval,
    queries are drawn with replacement (the same for all settings with the same queries), and everything is computed
    again, including the best system of each setting.

    Raises
    ------
    ConfigError
        No setting has all systems, per-query values are missing, or the queries of two systems of a setting differ.
    """
    key = table.spec.regret
    if not key:
        return
    place = table.spec.rows.index(key)
    systems = list(dict.fromkeys(row.labels[place] for row in table.rows))
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for row in table.rows:
        others = [label for number, label in enumerate(row.labels) if number != place]
        for column, cell in zip(table.columns, row.cells, strict=True):
            name = ", ".join([*others, table.spec.title(column.set), table.spec.title(column.metric)])
            if cell is not None:
                found.setdefault(name, {})[row.labels[place]] = _averaged(row, values_of(row, column))
    whole = {name: own for name, own in found.items() if len(own) == len(systems)}
    if not whole:
        lacking = next(f"{name} lacks {', '.join(set(systems) - set(own))}" for name, own in found.items())
        raise ConfigError(f"table.regret: no setting has a finished run of every {key}; {lacking}")
    table.regrets = _regrets(systems, whole)
    left_out = [name for name in found if name not in whole]
    if left_out:
        table.notes.append(f"Regret is over settings with every {key}; left out: {'; '.join(left_out)}.")


def _averaged(row: TableRow, seeds: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    if any(each.keys() != seeds[0].keys() for each in seeds):
        raise ConfigError(f"table.regret: the queries of the runs of {' | '.join(row.labels)} differ")
    return {query: float(np.mean([each[query] for each in seeds])) for query in sorted(seeds[0])}


def _regrets(systems: Sequence[str], settings: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Regret]:
    draws: dict[tuple[str, ...], np.ndarray] = {}
    generator = np.random.default_rng(_SEED)
    seen, drawn = [], []
    for name, own in settings.items():
        queries = tuple(own[systems[0]])
        if any(tuple(own[system]) != queries for system in systems):
            raise ConfigError(f"table.regret: the systems of the setting {name} have different queries")
        values = np.array([list(own[system].values()) for system in systems])
        if queries not in draws:
            draws[queries] = generator.multinomial(len(queries), np.full(len(queries), 1 / len(queries)), RESAMPLES)
        seen.append(_below_best(values.mean(1)))
        drawn.append(_below_best(draws[queries] @ values.T / len(queries)))
    largest = np.max(drawn, axis=0)  # resamples × systems
    low, high = np.quantile(largest, (0.025, 0.975), axis=0)
    regrets = [
        Regret(system, {name: float(each[i]) for name, each in zip(settings, seen, strict=True)}, low[i], high[i])
        for i, system in enumerate(systems)
    ]
    return sorted(regrets, key=lambda each: each.largest)


def _below_best(means: np.ndarray) -> np.ndarray:
    best = means.max(-1, keepdims=True)
    return (best - means) / np.where(best > 0, best, 1.0)


def rows(table: Table) -> list[list[str]]:
    """Return the regrets as text: system, mean, largest, interval, setting; a heading first."""
    head = [table.spec.title(table.spec.regret), "mean regret", "largest", "95 % interval", "where"]
    return [head] + [
        [each.system, *(f"{100 * value:.1f} %" for value in (each.mean, each.largest)),
         f"{100 * each.low:.1f} to {100 * each.high:.1f} %", each.where]
        for each in table.regrets
    ]  # fmt: skip
