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
        Where the run is cached as a score store.
    path
        A file, or several with different queries: one for the training queries, one for those that are tested.
    use
        ``scores``, or ``ranks`` where the scores are not the system's own: permutations of a first stage often keep
        its scores. Then only losses that read nothing but the teacher's order are allowed.
    missing
        What becomes of a candidate that the run does not have: ``error``, or ``drop`` it from its list.

    Raises
    ------
    ConfigError
        A line is malformed (file and line are named), or a pair comes twice with different scores.
    ValueError
        A file does not exist, or an option is none of its words.
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
