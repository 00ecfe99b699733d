"""Export: a student as a folder that sentence-transformers and transformers load."""

import logging
from pathlib import Path

from limbeck.config import Config, Node, registered

log = logging.getLogger(__name__)


def export(config: Config) -> None:
    """Write the folder, unless something else is there.

    Parameters
    ----------
    config
        A composed configuration of ``conf/export.yaml`` as plain containers.
    """
    from limbeck.artefacts import write_json
    from limbeck.experiment import assemble
    from limbeck.export.card import card, origin
    from limbeck.export.folder import check_target, write_folder
    from limbeck.export.modules import pipeline
    from limbeck.students.folders import MARK
    from limbeck.text.collate import Collator

    out = Path(config["out"])
    check_target(out)
    trained = origin(Path(config["run"]))
    student, tokenizer = assemble.saved(config["student"], config["backbone"])
    node = {**_defaults(config["student"]), **config["student"]}  # a saved student's node has what its folder says
    if "scale" in node:
        node["scale"] = student.scale  # where it is learned, what was learned
    made = pipeline(student.eval(), Collator(tokenizer, student.style, list, list))

    def fill(folder: Path) -> None:
        made.write(folder)
        write_json(folder / MARK, {"student": node, "run_id": trained.result.get("run_id")})
        (folder / "README.md").write_text(card(made, node, trained, out.name), encoding="utf-8")

    write_folder(out, fill)
    log.info("%s: for %s of sentence-transformers; how to load it is told in README.md there", out, made.library)


def _defaults(student: Node) -> Config:
    """Return the defaults of a student's options."""
    entry = registered(str(student["_target_"]))
    return {} if entry is None else {item.name: item.default for item in entry.parameters if item.default is not ...}
