"""TREC runs as teachers."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal

from limbeck.artefacts import Artefacts
from limbeck.formats.faults import Faults
from limbeck.formats.trec_run import TrecRun
from limbeck.registry import register
from limbeck.scores.writer import Provenance, write_store
from limbeck.teachers.store import StoreTeacher


@register("teacher", "run")
class RunTeacher(StoreTeacher):
    """The scores, or only the ranks, of TREC run files.

    Parameters
    ----------
    artefacts
        Cache, in which the run is stored as a score store.
    path
        Run file, or a list of run files. Several files must have different queries, such as training and test queries.
    use
        Scores or ranks. Use ``ranks`` if the scores are not the system's own (re-ranked runs often keep the scores of
        the first stage); then only losses that read only the teacher's order are allowed.
    missing
        Candidates that are not in the run. ``error``, or ``drop`` them from their lists.

    Raises
    ------
    ConfigError
        A line is malformed (the message names file and line), or a pair has two different scores.
    ValueError
        A file does not exist, or an option has an unknown value.
    """

    given: ClassVar = ("artefacts",)

    def __init__(
        self,
        artefacts: Artefacts,
        *,
        path: Any,
        use: Literal["scores", "ranks"] = "scores",
        missing: Literal["error", "drop"] = "error",
    ) -> None:
        files = [Path(str(each)).expanduser() for each in (path if isinstance(path, list) else [path])]
        for file in files:
            if not file.is_file():
                raise ValueError(f"path must name TREC run files; {file} does not exist")
        sums = [_sha256(file) for file in files]

        def fill(target: Path) -> None:
            source = TrecRun(target)
            whose = Provenance(source.source(files).teacher or files[0].name, command="teacher=run")
            write_store(target / "store", source.blocks(files, Faults()), whose, notes=source.finish)

        super().__init__(path=str(artefacts.folder("runs", {"sha256": sums}, fill) / "store"), use=use, missing=missing)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
