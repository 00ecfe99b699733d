"""Import a public file of teacher scores into a score store."""

import logging
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from limbeck.config import Config, ConfigError, build, part_name
from limbeck.progress import Step
from limbeck.screen import console
from limbeck.secrecy import masked

if TYPE_CHECKING:
    from limbeck.formats.base import Format, Thunk
    from limbeck.formats.faults import Faults
    from limbeck.scores.parts import Block
    from limbeck.scores.store import ScoreStore
    from limbeck.scores.writer import Provenance

log = logging.getLogger(__name__)

_OURS = r"\.lock|meta\.json|parts|unfinished|qrels\.tsv|[0-9a-f]{32}|\..*\.unfinished"


def import_scores(plain: Config) -> None:
    """Write public teacher scores into a score store, and print a summary.

    Parameters
    ----------
    plain
        A composed configuration of ``conf/import.yaml`` as plain containers.
    """
    from limbeck.experiment.own_data import of_folder
    from limbeck.formats.faults import Faults
    from limbeck.formats.files import found
    from limbeck.scores.writer import write_store

    out = Path(plain["out"])
    _check_out(out, plain["force"])
    paths = found([plain["path"]] if isinstance(plain["path"], str) else plain["path"])
    for path in paths:
        if not path.stat().st_size:
            raise ConfigError(f"{path}: the file is empty")
    try:
        faults = Faults(plain["on_error"])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    source: Format = build(plain["format"], out, key="format")
    provenance = _provenance(plain, source, paths)  # finds out which files there are, and whether they hold texts
    _check_collection(source, plain["force"])

    name = part_name(plain["format"])

    def notes() -> Config:
        (out / "qrels.tsv").unlink(missing_ok=True)  # of an earlier import
        notes = {"format": name, **source.finish(), **faults.notes()}
        if "collection_folder" in notes:
            notes["collection"] = _fingerprint(Path(notes["collection_folder"]))
        folder = Path(str(notes.get("collection_folder") or plain["collection"])).expanduser()
        return {**notes, "data": of_folder(folder)} if (folder / "corpus.jsonl").is_file() else notes

    start = time.perf_counter()
    blocks = _reported(source.blocks(paths, faults))
    store = write_store(
        out,
        blocks,
        provenance,
        duplicates=plain["duplicates"],
        threads=plain["threads"],
        notes=notes,
        check=lambda: _check_out(out, plain["force"]),
        doubt=True,
    )
    _report(store, faults, time.perf_counter() - start)


# -- before time is spent -----------------------------------------------------------------------------------------


def _check_out(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"out: {out} is a file; name a folder")
    # The writer of a store cleans up its folder, so that it must hold nothing else.
    foreign = [each.name for each in out.iterdir() if not re.fullmatch(_OURS, each.name)]
    if foreign:
        raise ConfigError(
            f"out: {out} holds other files ({', '.join(sorted(foreign)[:3])}); name a new or empty folder"
        )
    if (out / "meta.json").is_file() and not force:
        raise ConfigError(f"out: {out} is a finished score store; force=true replaces it, or name another folder")


def _check_collection(source: "Format", force: bool) -> None:
    if source.collection is not None:
        from limbeck.formats.collection_folder import check_free

        check_free(source.collection, force=force)


def _provenance(plain: Config, source: "Format", paths: list[Path]) -> "Provenance":
    from limbeck.scores.kinds import KINDS
    from limbeck.scores.parts import Duplicates
    from limbeck.scores.writer import Provenance

    if plain["duplicates"] not in get_args(Duplicates):
        raise ConfigError(f"duplicates must be one of {', '.join(get_args(Duplicates))}, got {plain['duplicates']!r}")
    if plain["threads"] < 1:
        raise ConfigError(f"threads must be >= 1, got {plain['threads']}")
    said = source.source(paths)
    teacher, kind = dict(plain["teacher"]), plain["kind"] or said.kind
    name, length = teacher.pop("name") or said.teacher, teacher["max_length"]
    if not name:
        known = (
            f"; {source.teacher} would be recognised by {' or '.join(source.published)} in the path"
            if source.teacher
            else ""
        )
        raise ConfigError(f"teacher.name must be given: neither the format nor the file names the teacher{known}")
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "unknown":
        log.warning(
            "the kind of the scores is unknown: give kind=%s if you know it; the checks before training depend on it",
            ", ".join(each for each in KINDS if each != "unknown"),
        )
    return Provenance(
        **{**teacher, "max_length": None if length is None else str(length)},
        teacher=str(name),
        kind=kind,
        scale=source.scale if plain["scale"] is None else plain["scale"],
        collection=_collection(plain["collection"]),
        command=shlex.join(["limbeck", *masked(sys.argv[1:])]),
    )


def _collection(value: object) -> str | None:
    if value is None or re.fullmatch("[0-9a-f]{16}", str(value)):
        return None if value is None else str(value)
    folder = Path(str(value)).expanduser()
    if not (folder / "corpus.jsonl").is_file():
        raise ConfigError(
            f"collection: {value} is neither a BEIR folder nor a fingerprint, 16 hexadecimal digits as a store's or "
            "pool's meta.json records it"
        )
    return _fingerprint(folder)


def _fingerprint(folder: Path) -> str:
    """Return the fingerprint that training will compute for a BEIR folder."""
    import tempfile

    from limbeck.artefacts import Artefacts
    from limbeck.data.opening import Data

    with tempfile.TemporaryDirectory() as cache:
        data = Data(collection=str(folder), train=None, dev=None, test=None)
        return data.open(Artefacts(Path(cache))).documents_fingerprint


# -- during and after ---------------------------------------------------------------------------------------------


def _reported(blocks: "Iterable[Thunk]") -> "Iterator[Thunk]":
    """Pass blocks on, and report the number of pairs so far; readers of files know their progress better."""

    def counted(block: "Thunk") -> "Block":
        found = block()
        step.advance(len(found.scores))
        return found

    with Step("import", unit="pairs") as step:
        for block in blocks:
            yield lambda block=block: counted(block)


def _report(store: "ScoreStore", faults: "Faults", seconds: float) -> None:
    from rich import box
    from rich.table import Table

    from limbeck.scores.kinds import described

    if faults.count:
        first = "\n".join(f"  {place}" for place in faults.places)
        log.warning("%s malformed lines were left out; the first:\n%s", f"{faults.count:,}", first)
    meta = store.meta
    least, median, most = meta["per_query"]
    rows = {
        "teacher": f"{meta['teacher']} ({described(meta)})",
        "pairs": f"{meta['rows']:,}",
        "queries": f"{meta['queries']:,}",
        "documents per query": f"{least:,} / {median:,.0f} / {most:,} (min / median / max)",
        "merged duplicates": f"{meta['merged']:,}",
        "skipped lines": f"{faults.count:,}",
        "positives": f"{meta['positives']:,} in {store.path / 'qrels.tsv'}" if "positives" in meta else None,
        "collection": meta.get("collection_folder"),
        "time": f"{seconds:.1f} s, {(meta['rows'] + meta['merged']) / seconds:,.0f} pairs/s",
        "store": str(store.path),
        "checksum": meta["checksum"],
    }
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, value)
    console(soft_wrap=True).print(table)
