"""The tables at the end of a sweep: all runs, the mean over seeds, and the gain by the teacher's quality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from limbeck.reporting.terminal import is_of, metrics_of, show_rows

Outcome = Mapping[str, Any]


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the systems that all runs share (first stage, teacher, start) once, then the student of each run."""
    done = [outcome for outcome in outcomes if "result" in outcome]
    if not done:
        return
    settings = [dict(word.partition("=")[::2] for word in outcome["overrides"]) for outcome in done]
    keys = dict.fromkeys(key for setting in settings for key in setting)  # only some runs have loss.ckl.gamma
    varied = [
        key
        for key in sorted(keys, key="seed".__eq__)
        if any(setting.get(key) != settings[0].get(key) for setting in settings)
    ]
    result = done[0]["result"]
    title = f"{done[0]['name']}: {result['collection']} {result['split']}"
    rows = _shared(done, varied)
    for setting, outcome in zip(settings, done, strict=True):
        rows += [{key: setting.get(key, "") for key in varied} | _without_key(row) for row in _student(outcome)]
    show_rows(rows, [*varied, "system", "candidates"], title)
    groups = _groups(settings, done, [key for key in varied if key != "seed"])
    if "seed" in varied and len(groups) < len(done):
        means = [row for name, members in groups.items() for row in _over_seeds(name, members)]
        show_rows(means, ["run", "candidates", "seeds"], "mean over seeds")
    if len(groups) > 1 and any(row["key"] == "teacher" for row in result["rows"]):
        _show_by_teacher(groups, metrics_of(result["rows"])[0])


def _student(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows of the distilled student, one per stage."""
    return [row for row in outcome["result"]["rows"] if is_of(row, "student")]


def _without_key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "key"}


def _shared(done: Sequence[Outcome], varied: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of other systems without duplicates; starts, which may depend on the seed, only if shared."""
    rows: list[dict[str, Any]] = []
    for row in (row for outcome in done for row in outcome["result"]["rows"] if not is_of(row, "student")):
        if row not in rows:
            rows.append(row)
    starts = [row["key"] for row in rows if is_of(row, "start")]
    alike = len(starts) == len(set(starts))
    return [dict.fromkeys(varied, "") | _without_key(row) for row in rows if alike or not is_of(row, "start")]


def _groups(
    settings: Sequence[Mapping[str, str]], done: Sequence[Outcome], keys: Sequence[str]
) -> dict[str, list[Outcome]]:
    """Return groups of runs that differ only by seed, by what distinguishes the groups."""
    groups: dict[str, list[Outcome]] = {}
    for setting, outcome in zip(settings, done, strict=True):
        name = " ".join(f"{key}={setting[key]}" for key in keys if key in setting)
        groups.setdefault(name, []).append(outcome)
    return groups


def _over_seeds(name: str, members: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the mean over seeds of each stage of the student."""
    rows = []
    for stage in zip(*map(_student, members), strict=True):
        row: dict[str, Any] = {"run": name, "candidates": stage[0]["candidates"], "seeds": len(members)}
        for metric in metrics_of(stage):
            values = [student[metric] for student in stage]
            row[metric] = mean(values)
            row[f"± {metric}"] = stdev(values) if len(values) > 1 else None
        rows.append(row)
    return rows


def _show_by_teacher(groups: Mapping[str, Sequence[Outcome]], metric: str) -> None:
    """Print the gain over the first group in buckets of the teacher's quality."""
    from limbeck.evaluation.per_query import read_per_query
    from limbeck.reporting.comparing import show_by_teacher

    def values(outcome: Outcome, key: str) -> dict[str, float]:
        folder = Path(outcome["folder"]) / "per_query"
        return read_per_query(folder / f"{outcome['result']['split']}.{key}.parquet", metric)

    (first, baseline), *_ = groups.items()
    teacher = values(baseline[0], "teacher")
    if any(values(outcome, "teacher") != teacher for members in groups.values() for outcome in members):
        return  # several teachers: no common measure of quality
    students = {name: [values(outcome, "student") for outcome in members] for name, members in groups.items()}
    show_by_teacher(metric, metric, teacher, students, first)
