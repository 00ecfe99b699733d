"""The page: all sections in one HTML file that loads nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from bokeh.embed import file_html
from bokeh.resources import INLINE

from limbeck.reporting.page.curves import learning_curves
from limbeck.reporting.page.gains import gains
from limbeck.reporting.page.leaderboard import leaderboard
from limbeck.reporting.page.pieces import Section
from limbeck.reporting.page.records import commands, differences, environment, unfinished
from limbeck.reporting.page.runs import Sweep
from limbeck.reporting.page.scatter import against_teacher
from limbeck.reporting.page.terms import Judgments, term_weights
from limbeck.version import __version__

# Users' texts reach the template only as escaped variables: none is ever read as a template.
_TEMPLATE = """
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{{ style }}</style>
{% endblock %}
{% block contents %}
<main>
{{ head }}
{% for part in parts %}
<section id="{{ part.anchor }}">{{ part.before }}
{% for name in part.names %}<div class="figure">{{ embed(doc.roots[name]) }}</div>{% endfor %}
{{ part.after }}</section>
{% endfor %}
</main>
{% endblock %}
"""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2226; background: #fff; }
main { max-width: 1120px; margin: 2rem auto 4rem; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 2px solid #e6e8ea; }
p { max-width: 54rem; margin: .4rem 0 .8rem; }
nav a { margin-right: 1.1rem; color: #0b5cad; white-space: nowrap; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #e6e8ea; vertical-align: top;
         font-variant-numeric: tabular-nums; }
th { font-weight: 600; white-space: nowrap; }
.wide { overflow-x: auto; }
.keys td { max-width: 16rem; overflow-wrap: anywhere; }
.keys tr:first-child th { white-space: normal; min-width: 5rem; vertical-align: bottom; }
.keys th:first-child { position: sticky; left: 0; background: #fff; font-weight: 400; }
code { font-size: .85rem; overflow-wrap: anywhere; }
small { color: #5b6770; overflow-wrap: anywhere; }
.figure { margin: .4rem 0 .6rem; overflow-x: auto; overflow-y: hidden; }
.missing { color: #5b6770; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #d98c3f; background: #fdf5ec; padding: .5rem .9rem; margin: .6rem 0; }
.differs th, .differs td { background: #fdf5ec; }
"""


def page(sweep: Sweep, judgments: Judgments, baseline: str | None = None) -> str:
    """Return the page about a sweep.

    Parameters
    ----------
    sweep
        Its runs.
    judgments
        Opens the judgments of a set; if it raises ``ConfigError``, the page says why the weights are missing.
    baseline
        The baseline of marks and gains: a configuration's name, a run's id, or overrides; None takes the first
        configuration.

    Raises
    ------
    ConfigError
        The baseline is none of the runs, or a file of a run cannot be read.
    """
    sections = [
        leaderboard(sweep, baseline),
        learning_curves(sweep),
        against_teacher(sweep),
        gains(sweep, baseline),
        term_weights(sweep, judgments),
        differences(sweep),
        environment(sweep),
        commands(sweep),
        unfinished(sweep),
    ]
    models, parts = [], []
    for section in sections:
        names = [f"{section.anchor}-{number}" for number in range(len(section.models))]
        for name, model in zip(names, section.models, strict=True):
            model.name = name
            models.append(model)
        before = f"<h2>{escape(section.title)}</h2>{section.intro}"
        parts.append({"anchor": section.anchor, "names": names, "before": before, "after": section.html})
    variables = {"head": _head(sweep, sections), "parts": parts, "style": _STYLE}
    return file_html(models, INLINE, f"{sweep.name}: report", template=_TEMPLATE, template_variables=variables)


def _head(sweep: Sweep, sections: Sequence[Section]) -> str:
    configurations = len({run.name for run in sweep.runs})
    counts = [
        f"{len(sweep.runs)} finished {'run' if len(sweep.runs) == 1 else 'runs'}",
        f"{configurations} {'configuration' if configurations == 1 else 'configurations'}",
        f"{len(sweep.sets)} {'set' if len(sweep.sets) == 1 else 'sets'}",
    ]
    if sweep.unfinished:
        counts.append(f'<a href="#unfinished">{len(sweep.unfinished)} failed or unfinished</a>')
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a> ' for section in sections)
    return f"<h1>{escape(sweep.name)}</h1><p>{', '.join(counts)}. Limbeck {__version__}.</p><nav>{links}</nav>"
