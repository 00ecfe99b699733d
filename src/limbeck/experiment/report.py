"""Write the HTML page about the runs of a sweep."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import ConfigError, Node
from limbeck.data.opening import described
from limbeck.experiment.run_folder import below
from limbeck.reporting.results.systems import named_folder
from limbeck.unfinished import write_text

if TYPE_CHECKING:
    from limbeck.artefacts import Artefacts
    from limbeck.rankings import Qrels
    from limbeck.reporting.results.finished import Place

log = logging.getLogger(__name__)


def report(plain: Node) -> Path:
    """Write the page, and return its path.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/report.yaml`` as plain containers.
    """
    root = Path(plain["paths"]["runs"])
    folder = named_folder(str(plain["name"]), root)
    if not any(folder.glob("*/config.yaml")):
        folder = below(str(root), plain["name"])
    out = folder / "report.html" if plain["out"] is None else Path(str(plain["out"]))
    if out.is_dir():
        raise ConfigError(f"out: {out} is a folder; give the file to write: out={out / 'report.html'}")
    _report(folder, out, plain)
    return out


def _report(folder: Path, out: Path, plain: Node) -> None:
    from limbeck.artefacts import Artefacts
    from limbeck.rankings import Qrels
    from limbeck.reporting.page.page import page
    from limbeck.reporting.page.runs import read
    from limbeck.reporting.results.finished import Place

    artefacts = Artefacts(Path(plain["paths"]["cache"]))
    known: dict[str, Qrels | ConfigError] = {}

    def judgments(place: Place) -> Qrels:
        """Return the judgments of a place; each collection is opened once."""
        key = str((place.data, place.split))
        if key not in known:
            try:
                known[key] = _judgments(place, artefacts)
            except ConfigError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, ConfigError):
            raise found
        return found

    baseline = plain["baseline"]
    html = page(read(folder), judgments, None if baseline is None else str(baseline))
    write_text(out, html)
    log.info("%s: %.1f MB", out, len(html.encode()) / 1e6)


def _judgments(place: "Place", artefacts: "Artefacts") -> "Qrels":
    if place.data is None:
        raise ConfigError("the collection is not known")
    opened = described(place.data).open(artefacts)
    return opened.split(place.split).qrels
