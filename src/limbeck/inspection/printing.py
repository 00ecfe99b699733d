"""Print a report on the terminal: the findings, then the figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from limbeck import labels
from limbeck.inspection.seen import percent
from limbeck.screen import console

_COLOURS = {"error": "bold red", "warning": "yellow"}


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures by name, as text.

    Parameters
    ----------
    figures
        From ``limbeck.inspection.summary.summarise``.
    """
    missing, spread, positives = figures["missing"], figures["spread"], figures["positives"]
    agreement, entropy = figures["agreement"], figures["entropy"]
    measured = figures["queries_measured"]
    shown = [
        ("queries", f"{figures['queries']:,}" + ("" if measured == figures["queries"] else f", {measured:,} measured")),
        ("pairs", f"{figures['pairs']:,}"),
        ("pairs without a score", f"{missing['pairs']:,} ({percent(missing['share'])})"),
        ("scores: lowest, median, highest", _numbers(figures["scores"].values())),
        ("standard deviation in a list: quartiles", _numbers(spread["std"].values())),
        ("range in a list: quartiles", _numbers(spread["range"].values())),
        ("lists with one score for all", _share(spread["constant_lists"])),
        ("documents that share their score", _share(spread["tied_scores"])),
        ("positive first by teacher", _share(positives["first_by_teacher"])),
        ("positive first by first stage", _share(positives["first_by_first_stage"])),
        ("positive first by chance", _share(positives["first_by_chance"])),
        ("positive higher by teacher", _share(positives["higher_by_teacher"])),
        ("positive higher by first stage", _share(positives["higher_by_first_stage"])),
        ("rank correlation with the first stage", _numbers([agreement["spearman"]])),
    ]
    for k, share in agreement["overlap"].items():
        if share is not None and k in ("1", "10", "100"):
            shown.append((f"overlap with the first stage at {k}", _share(share)))
    if entropy is not None:
        for loss, at in entropy["configured"].items():
            name = f"entropy / ln L at {labels.loss(loss)}'s temperature {at['temperature']:g}"
            shown.append((name, f"{at['median_entropy']:.3f}"))
        shown.append(("temperature for entropy / ln L = 0.5", f"{entropy['proposed_temperature']:g}"))
    return shown


def show(report: Mapping[str, Any], figures: Sequence[tuple[str, str]]) -> None:
    """Print a report.

    Parameters
    ----------
    report
        Contents of ``inspect.json``.
    figures
        As ``rows`` returns them.
    """
    screen = console(soft_wrap=True)
    for finding in report["findings"]:
        head = f"{finding['severity']}: {finding['name']}"
        screen.print(Text(head, style=_COLOURS[finding["severity"]]))
        screen.print(Text(f"  {finding['message']}"))
        screen.print(Text(f"  remedy: {finding['remedy']}"))
    if not report["findings"]:
        screen.print("the checks found nothing")
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures:
        table.add_row(Text(name), Text(value))
    screen.print(table)


def _numbers(values: Any) -> str:
    known = [value for value in values if value is not None]
    return ", ".join(f"{value:.4g}" for value in known) or "–"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)
