"""The records of runs: differing settings, environments, commands; and the runs that did not finish."""

import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

from limbeck.config import identity
from limbeck.labels import configuration as written
from limbeck.reporting.page.pieces import Section, sentence
from limbeck.reporting.page.runs import Sweep, TrainingRun
from limbeck.reporting.results.commands import command
from limbeck.reporting.results.naming import NOTHING, text
from limbeck.reporting.results.systems import flatten

_DATA = "data of "
_UNKNOWN = "not noted"
_SPEED = ("platform", "device", "cores", "threads")
"""Entries that hardly change results, but do change times."""


def differences(sweep: Sweep) -> Section:
    """Return the keys in which configurations differ, with their values."""
    section = Section(
        "differences",
        "Differences of the configurations",
        "<p>Every key that is not the same in all configurations, from the <code>config.yaml</code> of the runs "
        f"(the seed, paths and loggers left out). {NOTHING}: the key is not there.</p>",
    )
    kinds: dict[str, TrainingRun] = {}
    for run in sweep.runs:
        kinds.setdefault(run.name, run)
    flat = {name: _flat(run.finished.config) for name, run in kinds.items()}
    keys = list(dict.fromkeys(key for each in flat.values() for key in each))
    varied = [key for key in keys if len({each.get(key, NOTHING) for each in flat.values()}) > 1]
    if not varied:
        section.html = sentence("There is one configuration only.")
        return section
    ids = {name: " ".join(run.id for run in sweep.runs if run.name == name) for name in kinds}
    head = "".join(f'<th title="{escape(ids[name])}">{escape(written(name))}</th>' for name in kinds)
    rows = "".join(
        f"<tr><th>{escape(key)}</th>{''.join(_cell(each.get(key, NOTHING)) for each in flat.values())}</tr>"
        for key in varied
    )
    section.html = f'<div class="wide"><table class="keys"><tr><th>key</th>{head}</tr>{rows}</table></div>'
    return section


def environment(sweep: Sweep) -> Section:
    """Return the environments of the runs, and a warning where they differ."""
    section = Section(
        "environment",
        "Environment",
        "<p>From the <code>env.json</code> of the finished runs: commit, versions, machine.</p>",
    )
    recorded = {run.id: _environment(run) for run in sweep.runs}
    values: dict[str, dict[str, list[str]]] = {}
    for key in dict.fromkeys(key for each in recorded.values() for key in each):
        for name, each in recorded.items():
            if key in each or not key.startswith(_DATA):  # runs on other collections have no such entry
                values.setdefault(key, {}).setdefault(each.get(key, NOTHING), []).append(name)
    varied = [key for key, found in values.items() if len(found) > 1]
    if varied:
        what = "times cannot be compared" if set(varied) <= set(_SPEED) else "their results may differ for that alone"
        section.html = (
            f'<div class="warning"><strong>The runs do not share one environment</strong>: {escape(", ".join(varied))} '
            f"differ, so {what}.</div>"
        )
    rows = ""
    for key, found in values.items():
        several = len(found) > 1
        for value, ids in found.items():
            count = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
            who = f" <small>({count}: {escape(' '.join(ids))})</small>" if several else ""
            mark = ' class="differs"' if several else ""
            rows += f"<tr{mark}><th>{escape(key)}</th><td><code>{escape(value)}</code>{who}</td></tr>"
    section.html += f"<table>{rows}</table>"
    return section


def commands(sweep: Sweep) -> Section:
    """Return the command that reproduces each run."""
    section = Section(
        "commands",
        "Commands",
        "<p>Each command reproduces its run (add <code>force=true</code> where it is finished already).</p>",
    )
    typed = dict.fromkeys(
        shlex.join(run.finished.env["command"]) for run in sweep.runs if run.finished.env.get("command")
    )
    if typed:
        lines = "".join(f"<br><code>{escape(each)}</code>" for each in typed)
        section.intro += f"<p>The commands as they were typed:{lines}</p>"
    rows = "".join(
        f"<tr><th>{escape(run.id)}</th><td>{escape(written(run.name))}, seed {run.seed}</td>"
        f"<td><code>{escape(command(run.finished.env) or _UNKNOWN)}</code></td></tr>"
        for run in sweep.runs
    )
    section.html = f'<table class="commands">{rows}</table>'
    return section


def unfinished(sweep: Sweep) -> Section:
    """Return the runs without a result, with the last line of their error."""
    section = Section(
        "unfinished",
        "Failed and unfinished runs",
        "<p>They are in no table or figure above. Run the sweep’s command again to complete them.</p>",
    )
    if not sweep.unfinished:
        section.html = sentence("None: every run in the folder is finished.")
        return section
    rows = "".join(
        f"<tr><th>{escape(each.id)}</th><td>{escape(each.state)}</td><td>{escape(each.reason)}</td>"
        f"<td><code>{escape(command(each.env) or _UNKNOWN)}</code></td></tr>"
        for each in sweep.unfinished
    )
    section.html = (
        '<table class="commands"><tr><th>run</th><th>state</th><th>reason</th><th>command</th></tr>' + rows + "</table>"
    )
    return section


def _environment(run: TrainingRun) -> dict[str, str]:
    env = run.finished.env
    flat = {key: env.get(key) for key in ("commit", "uncommitted_changes", "python", *_SPEED) if key in env}
    flat |= env.get("versions") or {}
    data = run.finished.result.get("collection_fingerprint")
    if data is not None:
        flat[f"{_DATA}{run.own}"] = data
    return {key.replace("_", " "): "not known" if value is None else str(value) for key, value in flat.items()}


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    flatten({key: value for key, value in identity(config).items() if key != "seed"}, "", flat)
    return {key: text(value) for key, value in flat.items()}


def _cell(value: str) -> str:
    return f"<td>{escape(value)}</td>"
