"""Compare systems with a baseline: tests, gains by the teacher's quality, queries that changed most."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck import labels
from limbeck.analysis.moved import moved, with_texts
from limbeck.analysis.quality import Bucket, by_teacher, quality_metric
from limbeck.artefacts import Artefacts, write_json
from limbeck.config import ConfigError
from limbeck.data.collection import Collection
from limbeck.data.opening import described
from limbeck.evaluation.comparison import Compared, Comparing, plain
from limbeck.evaluation.runs import read_run
from limbeck.evaluation.values import Values
from limbeck.reporting import figures
from limbeck.reporting.results.finished import Group, Member, Place, gathered
from limbeck.reporting.results.systems import file_name
from limbeck.reporting.terminal import show_rows

log = logging.getLogger(__name__)


def report(
    systems: Sequence[Member],
    baseline: str,
    *,
    metrics: Sequence[str] | None,
    settings: Comparing,
    count: int,
    artefacts: Artefacts,
    out: Path,
) -> list[dict[str, Any]]:
    """Compare systems with a baseline: print tables, write ``comparison.json``, ``moved.json`` and ``figures/``.

    Parameters
    ----------
    systems
        Systems with their results.
    baseline
        Name of one of them.
    metrics
        Metrics to compare by, the first one in the figures; None takes all that the systems share.
    settings
        Test and correction.
    count
        Number of queries shown among those that gained most, and among those that lost most; 0 for none.
    artefacts
        The cache of document stores, from which texts are read.
    out
        Output folder.

    Returns
    -------
    list
        The comparisons, as plain containers.
    """
    groups = gathered(systems, metrics)
    try:
        compared = settings.compare({name: group.values for name, group in groups.items()}, baseline)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for name in groups:
        _show([row for row in compared if row.set == name], groups[name], settings)
    rows = plain(compared)
    out.mkdir(parents=True, exist_ok=True)
    buckets = {name: _by_quality(name, group, baseline, out) for name, group in groups.items()}
    record = {"baseline": baseline, "settings": vars(settings), "comparisons": rows, "by_teacher": buckets}
    write_json(out / "comparison.json", record)
    _draw(groups, baseline, out)
    if count:
        _moved(groups, baseline, count, artefacts, out)
    log.info("\n%s: comparison.json, figures/%s", out, ", moved.json" if count else "")
    return rows


def _show(rows: Sequence[Compared], group: Group, settings: Comparing) -> None:
    if not rows:
        return
    table = []
    for metric, systems in group.values.items():
        of_metric = {row.system: row for row in rows if row.metric == metric}
        first = next(iter(of_metric.values()))
        for name in sorted(systems, key=lambda name: name != first.baseline):  # the baseline first
            row = of_metric.get(name)
            line: dict[str, Any] = {"metric": metric, "system": name, "seeds": str(len(systems[name]))}
            own = first.statistics.baseline if row is None else row.statistics.system
            spread = first.statistics.baseline_std if row is None else row.statistics.system_std
            line |= {"mean": own, "± seeds": spread}
            if row is not None:
                each = row.statistics
                line |= {
                    "": settings.marks(row), "difference": each.difference, "from": each.low, "to": each.high,
                    "p (t)": each.t_p, "p (random.)": each.randomisation_p, "p (Holm)": row.p_holm,
                    "p (Bonf.)": row.p_bonferroni, "effect": each.effect_size,
                }  # fmt: skip
            table.append(line)
    columns = list(dict.fromkeys(key for row in reversed(table) for key in row))
    full = [{key: row.get(key) for key in columns} for row in table]
    for row in full:
        row[""] = row[""] or ""
    queries, name = rows[0].statistics.queries, rows[0].baseline
    title = (
        f"{rows[0].set}, {queries} queries, against {name}: ▲▼ Holm-adjusted p of the "
        f"{'paired t-test' if settings.test == 't' else 'randomisation test'} < {settings.level:g} over "
        f"{rows[0].family} comparisons; interval of the difference {settings.confidence:.0%}"
    )
    show_rows(full, ["metric", "system", "seeds", ""], title, bold=False)


def show_by_teacher(
    metric: str,
    quality: str,
    teacher: Values,
    values: Mapping[str, Sequence[Values]],
    baseline: str,
    *,
    title: str = "",
) -> dict[str, list[Bucket]]:
    """Print the gain of each system over the baseline in buckets of the teacher's quality on each query.

    Parameters
    ----------
    metric
        Metric of the gain.
    quality
        Metric of the teacher's quality.
    teacher
        The teacher's values of ``quality``.
    values
        System → values of ``metric``, one mapping per seed.
    baseline
        One of the systems.
    title
        Text before the table's title.

    Returns
    -------
    dict
        System → its buckets.
    """
    buckets = {name: by_teacher(teacher, values[baseline], seeds) for name, seeds in values.items() if name != baseline}
    rows = [
        {
            "run": name,
            "teacher's quality": f"{bucket.low:.1f} to {bucket.high:.1f}",
            "queries": bucket.queries,
            "teacher": bucket.teacher,
            "baseline": bucket.baseline,
            "student": bucket.system,
            "gain": bucket.gain,
            "±": bucket.half_width,
        }
        for name, found in buckets.items()
        for bucket in found
    ]
    title += f"{metric} against {baseline}, by the teacher's own {quality} (± 95 % over queries)"
    show_rows(rows, ["run", "teacher's quality", "queries"], title, bold=False)
    return buckets


def _by_quality(name: str, group: Group, baseline: str, out: Path) -> dict[str, Any] | None:
    if group.teacher is None or baseline not in next(iter(group.values.values())):
        return None
    metric, quality = next(iter(group.values)), quality_metric(group.teacher)
    values, teacher = group.values[metric], group.teacher[quality]
    buckets = show_by_teacher(metric, quality, teacher, values, baseline, title=f"{name}: ")
    figures.gain_by_teacher(
        _figure(out, name, "by_teacher"),
        buckets,
        metric=metric,
        baseline=baseline,
        teacher=f"the teacher's {labels.metric(quality)}",
    )
    if metric in group.teacher:
        figures.against_teacher(_figure(out, name, "against_teacher"), group.teacher[metric], values, metric=metric)
    return {
        "metric": metric,
        "quality": quality,
        "buckets": {system: [asdict(each) for each in found] for system, found in buckets.items()},
    }


def _draw(groups: Mapping[str, Group], baseline: str, out: Path) -> None:
    for name, group in groups.items():
        metric, values = next(iter(group.values.items()))
        if baseline in values:
            others = {system: seeds for system, seeds in values.items() if system != baseline}
            path = _figure(out, name, "gains")
            figures.sorted_gains(path, values[baseline], others, metric=metric, name=baseline)


def _figure(out: Path, group: str, what: str) -> Path:
    (out / "figures").mkdir(parents=True, exist_ok=True)
    return out / "figures" / f"{file_name(group)}.{what}.png"


def _moved(groups: Mapping[str, Group], baseline: str, count: int, artefacts: Artefacts, out: Path) -> None:
    changed: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        metric, values = next(iter(group.values.items()))
        if baseline not in values:
            continue
        teacher = None if group.teacher is None else group.teacher.get(metric)
        collection = _collection(group.places[baseline], artefacts)
        for system, seeds in values.items():
            if system == baseline:
                continue
            moves = moved(values[baseline], seeds, count, teacher)
            if collection is None:
                rows = [asdict(each) for each in moves]
            else:
                before, after = (read_run(group.places[each].run) for each in (baseline, system))
                qrels = collection.split(group.places[baseline].split).qrels

                def texts(ids: Sequence[str], collection: Collection = collection) -> list[str]:
                    known = collection.known_texts(ids)  # a run file may contain documents that were removed since
                    return [known.get(document, "") for document in ids]

                rows = with_texts(moves, collection.query_texts, texts, before, after, qrels)
            changed.setdefault(name, {})[system] = {"metric": metric, "queries": rows}
    write_json(out / "moved.json", changed)


def _collection(place: Place, artefacts: Artefacts) -> Collection | None:
    """Open the collection of a set, for its texts; None if it cannot be opened."""
    if place.data is None:
        return None
    try:
        return described(place.data).open(artefacts)
    except ConfigError as error:
        log.warning("texts of the queries that moved are left out: %s", error)
        return None
