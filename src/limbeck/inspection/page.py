"""A report as one self-contained HTML page."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2226; background: #fff; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid #e6e8ea; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.finding { border-left: 4px solid; padding: .5rem .9rem; margin: .6rem 0; overflow-wrap: anywhere; }
.error { border-color: #b3261e; background: #fbeeed; }
.warning { border-color: #d98c3f; background: #fdf5ec; }
.clean { border-color: #3c7d4f; background: #eef6f0; }
img { max-width: 100%; height: auto; }
code { overflow-wrap: anywhere; }
"""


def page(report: Mapping[str, Any], rows: Sequence[tuple[str, str]], pictures: Mapping[str, Path]) -> str:
    """Return the page.

    Parameters
    ----------
    report
        Contents of ``inspect.json``.
    rows
        Figures by name, as on the terminal.
    pictures
        Title → PNG file, embedded in the page.
    """
    return "\n".join(_parts(report, rows, pictures)) + "\n"


def _parts(report: Mapping[str, Any], rows: Sequence[tuple[str, str]], pictures: Mapping[str, Path]) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Teacher scores</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>Teacher scores</h1>"
    yield "<table>"
    for name, value in report["source"].items():
        yield f"<tr><th>{escape(name)}</th><td><code>{escape(str(value))}</code></td></tr>"
    yield "</table>\n<h2>Findings</h2>"
    for finding in report["findings"]:
        yield (
            f'<div class="finding {escape(finding["severity"])}"><strong>{escape(finding["severity"])}: '
            f"{escape(finding['name'])}</strong><br>{escape(finding['message'])}.<br>"
            f"<strong>Remedy:</strong> {escape(finding['remedy'])}.</div>"
        )
    if not report["findings"]:
        yield '<div class="finding clean">The checks found nothing.</div>'
    if report["ignored"]:
        yield f"<p>Turned off: {escape(', '.join(report['ignored']))}.</p>"
    yield "<h2>Statistics</h2>\n<table>"
    for name, value in rows:
        yield f'<tr><th>{escape(name)}</th><td class="number">{escape(value)}</td></tr>'
    yield "</table>\n<h2>Figures</h2>"
    for title, path in pictures.items():
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        yield f'<p><img alt="{escape(title)}" src="data:image/png;base64,{data}"></p>'
    yield from _hardest(report["hardest"])
    yield "</body>\n</html>"


def _hardest(queries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not queries:
        return
    yield "<h2>Queries whose positives the teacher puts lowest</h2>\n<table>"
    yield "<tr><th>query</th><th>by teacher</th><th>by first stage</th><th>of</th><th>scores from</th><th>to</th></tr>"
    for item in queries:
        first_stage = "–" if item["first_stage_rank"] is None else f"{item['first_stage_rank']:g}"
        numbers = [f"{item['teacher_rank']}", first_stage, f"{item['documents']}"]
        numbers += [f"{item['minimum']:.4g}", f"{item['maximum']:.4g}"]
        cells = "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
        yield f"<tr><td><code>{escape(item['query'])}</code></td>{cells}</tr>"
    yield "</table>"
