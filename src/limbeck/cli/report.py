"""``limbeck report``: one HTML page about the runs of a sweep."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.cli.errors import as_plain
from limbeck.config import ConfigError, build
from limbeck.experiment.run_folder import below, console
from limbeck.unfinished import write_text

log = logging.getLogger(__name__)

_KEYS = ("name", "out", "baseline", "paths")


def words(given: Sequence[str]) -> list[str]:
    """Return overrides: a bare first word is the name, as in ``limbeck report NAME``."""
    first, rest = given[:1], list(given[1:])
    return [word if "=" in word or word[:1] in "-~" else f"name='{_quoted(word)}'" for word in first] + rest


def _quoted(word: str) -> str:
    return word.replace("\\", "\\\\").replace("'", "\\'")


def run(config: Any) -> None:
    """Write the page."""
    console()
    plain = as_plain(config, _KEYS, optional=("out",))
    folder = below(plain["paths"]["runs"], plain["name"])
    out = folder / "report.html" if plain["out"] is None else Path(str(plain["out"]))
    if out.is_dir():
        raise ConfigError(f"out: {out} is a folder; give the file to write: out={out / 'report.html'}")
    _report(folder, out, plain)


def _report(folder: Path, out: Path, plain: Mapping[str, Any]) -> None:
    from limbeck.artefacts import Artefacts
    from limbeck.rankings import Qrels
    from limbeck.reporting.page.page import page
    from limbeck.reporting.page.runs import read
    from limbeck.reporting.results.finished import Place

    artefacts = Artefacts(Path(plain["paths"]["cache"]))
    known: dict[str, Qrels | ConfigError] = {}

    def judgments(place: Place) -> Qrels:
        """Open the collection once, however many runs there are on it."""
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
    made = page(read(folder), judgments, None if baseline is None else str(baseline))
    write_text(out, made)
    log.info("%s: %.1f MB", out, len(made.encode()) / 1e6)


def _judgments(place: Any, artefacts: Any) -> Any:
    if place.data is None:
        raise ConfigError("the collection is not known")
    opened = build({**place.data, "world": None}, key="data").open(artefacts, place.data.get("world"))
    return opened.split(place.split).qrels
