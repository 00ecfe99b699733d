"""Export a student as a folder that sentence-transformers and transformers load."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.config import Config, Node, registered

if TYPE_CHECKING:
    from limbeck.export.origin import Origin
    from limbeck.students.base import Student
    from limbeck.text.tokenizer import TextTokenizer

log = logging.getLogger(__name__)


def export(config: Config) -> None:
    """Write the folder; refuse one that holds something else.

    Parameters
    ----------
    config
        A composed configuration of ``conf/export.yaml`` as plain containers.
    """
    from limbeck.experiment import assemble
    from limbeck.export.folder import check_target
    from limbeck.export.origin import origin

    out = Path(config["out"])
    check_target(out)
    trained = origin(Path(config["run"]))
    student, tokenizer = assemble.saved(config["student"], config["backbone"])
    node = with_defaults(config["student"], student)
    library = write(out, student, tokenizer, node, trained, out.name, said=config["card"])
    log.info("%s: for %s of sentence-transformers; README.md there says how to load it", out, library)


def with_defaults(node: Node, student: "Student") -> Config:
    """Return a saved student's node, with the defaults of the options that its folder does not record."""
    entry = registered(str(node["_target_"]))
    known = () if entry is None else entry.parameters
    whole = {**{item.name: item.default for item in known if item.default is not ...}, **node}
    return whole | {"scale": student.scale} if "scale" in whole else whole  # a learned scale replaces the option


def write(
    out: Path,
    student: "Student",
    tokenizer: "TextTokenizer",
    node: Node,
    trained: "Origin",
    name: str,
    *,
    said: Node | None = None,
) -> str:
    """Write a student with its model card; return the class of sentence-transformers that loads it.

    Parameters
    ----------
    out
        The folder; an earlier export in it is replaced.
    student, tokenizer
        As ``limbeck.experiment.assemble.saved`` builds them.
    node
        The student's configuration node, defaults included.
    trained
        Origin of its training, for the card.
    name
        Name of the model, for the card.
    said
        Entries of the card that no run records: ``license``, ``language``, ``base_model``, ``datasets``.

    Raises
    ------
    ConfigError
        The folder holds something else, or sentence-transformers has no class for this student.
    """
    from limbeck.artefacts import write_json
    from limbeck.export.card import card
    from limbeck.export.folder import write_folder
    from limbeck.export.modules import pipeline
    from limbeck.export.origin import public_data
    from limbeck.students.folders import MARK
    from limbeck.text.collate import Collator

    exported = pipeline(student.eval(), Collator(tokenizer, student.style, list, list))

    def fill(folder: Path) -> None:
        exported.write(folder)
        known = {"run_id": trained.result.get("run_id"), "data": public_data(trained)}
        known |= {"space": trained.space} if trained.space else {}
        write_json(folder / MARK, {"student": node, **known})
        (folder / "README.md").write_text(card(exported, node, trained, name, said or {}), encoding="utf-8")

    write_folder(out, fill)
    return exported.library
