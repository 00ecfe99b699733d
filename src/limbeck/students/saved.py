"""Students that lie in a folder: what the folder says replaces the options of the configuration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from limbeck.backbones.tables import is_table
from limbeck.config import ConfigError, check_keys, entries
from limbeck.registry import register
from limbeck.students.folders import MARK, MODULES, holds, read

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Nodes:
    """Configuration nodes of a student and its backbone."""

    student: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)


@register("student", "saved")
class Saved:
    """A student as it lies in a folder: kind, options and weights come from there.

    The folder is a run's (``runs/NAME/RUN_ID``), a run's ``model``, one that limbeck exported, or one of
    sentence-transformers: a SentenceTransformer, SparseEncoder, MultiVectorEncoder or CrossEncoder. It is in a
    configuration in place of the student and its backbone, and is replaced by both before anything is built.

    Parameters
    ----------
    folder
        Where it lies; ``package:NAME/FOLDER`` for one inside an installed package.
    options
        Options of the student that differ from what the folder says, as ``{query_length: 64}``; null for none.

    Raises
    ------
    ConfigError
        The folder is not there, or what it holds cannot be represented: the message gives the reason.
    """

    def __init__(self, *, folder: str, options: Any = None) -> None:
        if not isinstance(options, Mapping | None):
            raise ConfigError(f"student.options must be a mapping, as {{query_length: 64}}, got {options!r}")
        self.given = folder
        self.folder = Path(folder)
        if folder.startswith("package:"):
            from limbeck.backbones.sources import locate  # needs torch, which a configuration is composed without

            try:
                self.folder = Path(locate(folder))
            except ValueError as error:
                raise ConfigError(f"student.folder: {str(error).removeprefix('model ')}") from None
        self.options = dict(options or {})

    def nodes(self, backbone: Node, *, key: str = "") -> Nodes:
        """Return the nodes that stand for it.

        Parameters
        ----------
        backbone
            The node beside the student's. The options of ``backbone=saved`` (``layers``, ``dropout``, …) are kept; a
            backbone that is built anew gives way.
        key
            Prefix of both keys in messages, as ``teacher.``.
        """
        found = read(self.folder, key=f"{key}student.folder")
        student: dict[str, Any] = {"_target_": f"student/{found.kind}", **found.options}
        for name in self.options:
            _known(found.kind, name, f"{key}student.options.{name}")
        check_keys(student, f"{self.folder / MARK}: student")
        return Nodes(_cut(student, self.options), self._backbone(backbone, found.transformer, key))

    def _backbone(self, node: Node, transformer: Path, key: str) -> dict[str, Any]:
        pretrained = entries()["backbone", "pretrained"]
        static = is_table(transformer)
        found = entries()["backbone", "static"] if static else pretrained
        options: dict[str, Any] = {"_target_": found.target}
        options |= {item.name: item.default for item in found.parameters if item.default is not ...}
        if node.get("_target_") == pretrained.target:
            model = node.get("model")
            if model not in (None, "???", self.given):
                raise ConfigError(
                    f"{key}backbone.model={model} and {key}student.folder={self.given} both say where the weights "
                    f"lie; choose {key}backbone=saved"
                )
            if static:
                _check_none({item.name: item.default for item in pretrained.parameters}, node, transformer, key)
            else:
                options |= node
        return options | {"model": str(transformer)}


def _check_none(defaults: Node, node: Node, table: Path, key: str) -> None:
    """Refuse options of a transformer for a table of vectors."""
    changed = [name for name, value in node.items() if name in defaults and name not in ("model", "revision")
               and value != defaults[name]]  # fmt: skip
    if changed:
        raise ConfigError(
            f"{key}backbone.{changed[0]} is an option of a transformer; {str(table)!r} holds vectors of tokens, "
            "averaged (backbone=static): leave it out"
        )


def _known(kind: str, name: str, key: str) -> None:
    options = [item.name for item in entries()["student", kind].parameters]
    if name not in options:
        raise ConfigError(
            f"{key} is no option of the student in the folder, a {kind}\nknown here: {', '.join(options)}"
        )


def _cut(student: Node, options: Node) -> dict[str, Any]:
    """Return a student's options with those that differ; sizes that a cut vector no longer has are left out."""
    whole = {**student, **options}
    size = options.get("dimension")
    if isinstance(size, int) and "matryoshka" in student and "matryoshka" not in options:
        whole["matryoshka"] = [each for each in student["matryoshka"] if each < size]
    return whole


def resolve(config: Any) -> None:
    """Replace every saved student of a composed configuration, and the backbone beside it, in place.

    Done before interpolations are read, so that what refers to the backbone refers to the one found. Another
    student whose backbone comes out of a folder that holds one is compared with it, by
    ``check``.

    Parameters
    ----------
    config
        An OmegaConf mapping.
    """
    from omegaconf import OmegaConf

    for place in _places(OmegaConf.to_container(config)):
        node = reduce(lambda outer, name: outer[name], place, config)
        _resolve(node, "".join(f"{name}." for name in place), trains=not place and "optim" in config)


def _places(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where nodes with a student lie, inner ones first; ``node`` is plain: OmegaConf is slow to look into."""
    if not isinstance(node, dict) or node.get("student") == "???":
        return
    for name, inner in node.items():
        yield from _places(inner, (*place, name))
    if isinstance(node.get("student"), dict):
        yield place


def _resolve(node: Any, key: str, *, trains: bool) -> None:
    from omegaconf import OmegaConf, open_dict

    student, backbone = node.get("student"), node.get("backbone")
    beside: Any = {} if backbone is None else OmegaConf.to_container(backbone, resolve=True)
    if student.get("_target_") != "student/saved":
        _compare(OmegaConf.to_container(student, resolve=True), beside, key, trains=trains)
        return
    options: Any = OmegaConf.to_container(student, resolve=True, throw_on_missing=True)
    given = {name: value for name, value in options.items() if name != "_target_"}
    try:
        saved = Saved(**{**given, "folder": str(given["folder"])})  # a folder may be called 5
    except ConfigError as error:
        raise ConfigError(f"{key}{error}") from None
    nodes = saved.nodes(beside, key=key)
    with open_dict(node):
        node.student, node.backbone = OmegaConf.create(nodes.student), OmegaConf.create(nodes.backbone)


def _compare(student: Any, backbone: Any, key: str, *, trains: bool) -> None:
    """Compare a student with what the folder of its backbone says of one."""
    model = backbone.get("model")
    kinds = {entry.target: name for (kind, name), entry in entries().items() if kind == "student"}
    if not isinstance(model, str) or model == "???" or student.get("_target_") not in kinds:
        return
    folder = Path(model)
    inside = folder.is_dir() and any((place / MODULES).is_file() for place in folder.resolve().parents[:2])
    if not (model.startswith("package:") or holds(folder) or inside):  # what follows needs torch
        return
    from limbeck.students.bare import check

    check(kinds[student["_target_"]], student, model, key=key, trains=trains)
