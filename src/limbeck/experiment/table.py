"""Write a table of finished sweeps in Markdown and LaTeX, with the commands of its rows."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.artefacts import write_json
from limbeck.config import Node, build
from limbeck.unfinished import write_text

if TYPE_CHECKING:
    from limbeck.reporting.results.cells import Table

log = logging.getLogger(__name__)


def write(config: Node, name: str) -> "Table":
    """Print the table, write `OUT/NAME.md`, `OUT/NAME.tex` and `OUT/NAME.json`, and return it.

    Parameters
    ----------
    config
        A composed configuration of ``conf/table.yaml`` as plain containers.
    name
        Name of the table.
    """
    from limbeck.reporting.results.latex import latex
    from limbeck.reporting.results.markdown import markdown
    from limbeck.reporting.results.plain import plain
    from limbeck.reporting.results.terminal import show

    tabulated = tabulate(config, name)
    show(tabulated)
    out = Path(config["out"])
    for suffix, text in {"md": markdown(tabulated), "tex": latex(tabulated)}.items():
        write_text(out / f"{name}.{suffix}", text)
    write_json(out / f"{name}.json", plain(tabulated))
    log.info("\n%s: %s.md, %s.tex, %s.json", out, name, name, name)
    return tabulated


def rows(tabulated: "Table") -> list[dict[str, Any]]:
    """Return the rows of a table as plain mappings: the labels, then mean and standard deviation of each column."""
    from limbeck.reporting.results.wording import column_head, heads

    heads_, columns = heads(tabulated), [column_head(tabulated, column) for column in tabulated.columns]
    found = []
    for row in tabulated.rows:
        cells = {}
        for name, cell in zip(columns, row.cells, strict=True):
            cells |= {name: None if cell is None else cell.mean, f"± {name}": None if cell is None else cell.std}
        found.append({**dict(zip(heads_, row.labels, strict=False)), **cells})
    return found


def tabulate(config: Node, name: str) -> "Table":
    """Return the table (``limbeck.reporting.results.cells.Table``) of a composed configuration.

    Raises
    ------
    ConfigError
        The table's YAML is wrong, no finished runs match, or the runs must not be mixed; the message says which.
    """
    from limbeck.reporting.results.cells import make
    from limbeck.reporting.results.marking import mark
    from limbeck.reporting.results.references import add_references
    from limbeck.reporting.results.regret import add_regrets
    from limbeck.reporting.results.spec import read_spec
    from limbeck.reporting.results.sweep import check_commits, check_data, collect, commits, remarks

    settings = build(config["comparison"], key="comparison")
    spec = read_spec(config["table"])
    root = Path(config["paths"]["runs"]).expanduser()
    swept = collect(spec.runs, root, key="table.runs", partial=config["partial"])
    if not config["mix_commits"]:
        check_commits(swept.runs)
    tabulated = make(name, spec, swept.runs, partial=config["partial"])
    if not config["mix_data"]:
        check_data(swept.runs, dict.fromkeys(column.set for column in tabulated.columns))
    add_references(tabulated, swept.runs)
    mark(tabulated, settings)
    states = ", ".join(f"{len(runs)} of {state}" for state, runs in commits(swept.runs).items())
    add_regrets(tabulated)
    tabulated.notes[:0] = [f"{len(swept.runs)} finished runs: {states}.", *remarks(swept)]
    return tabulated
