"""Saved students: the folder determines kind, options and weights, in place of the configuration."""

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
    """Configurations of a student and its backbone."""

    student: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)


@register("student", "saved")
class Saved:
    """A saved student. Kind, options and weights come from its folder.

    The folder is that of a run (``runs/NAME/RUN_ID``), a run's ``model``, an export of limbeck, or a model of
    sentence-transformers: a SentenceTransformer, SparseEncoder, MultiVectorEncoder or CrossEncoder. In a composed
    configuration, this part is replaced by the student and backbone that the folder describes.

    Parameters
    ----------
    folder
        Folder of the student. ``package:NAME/FOLDER`` is a folder in an installed package.
    options
        Options of the student to change. For example ``{query_length: 64}``; null is none.

    Raises
    ------
    ConfigError
        The folder does not exist, or its model is not supported; the message gives the reason.
    """

    def __init__(self, *, folder: str, options: Any = None) -> None:
        if not isinstance(options, Mapping | None):
            raise ConfigError(f"student.options must be a mapping, such as {{query_length: 64}}, got {options!r}")
        self.given = folder
        self.folder = Path(folder)
        if folder.startswith("package:"):
            from limbeck.backbones.sources import locate  # needs torch, which composing must not import

            try:
                self.folder = Path(locate(folder))
            except ValueError as error:
                raise ConfigError(f"student.folder: {str(error).removeprefix('model ')}") from None
        self.options = dict(options or {})

    def nodes(self, backbone: Node, *, key: str = "") -> Nodes:
        """Return the configurations of the student and backbone in the folder.

        Parameters
        ----------
        backbone
            The configured backbone. Options of ``backbone=saved`` (``layers``, ``dropout``, …) are kept; a backbone of
            another kind is replaced.
        key
            Prefix of both keys in messages, such as ``teacher.``.
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
                    f"{key}backbone.model={model} and {key}student.folder={self.given} both name weights; choose "
                    f"{key}backbone=saved"
                )
            if static:
                _check_none({item.name: item.default for item in pretrained.parameters}, node, transformer, key)
            else:
                options |= node
        return options | {"model": str(transformer)}


def _check_none(defaults: Node, node: Node, table: Path, key: str) -> None:
    """Raise an error for a transformer's options if the saved model has static embeddings."""
    changed = [name for name, value in node.items() if name in defaults and name not in ("model", "revision")
               and value != defaults[name]]  # fmt: skip
    if changed:
        raise ConfigError(
            f"{key}backbone.{changed[0]} is an option of a transformer, but {str(table)!r} holds static embeddings "
            "(backbone=static): leave it out"
        )


def _known(kind: str, name: str, key: str) -> None:
    options = [item.name for item in entries()["student", kind].parameters]
    if name not in options:
        raise ConfigError(
            f"{key} is no option of the student in the folder, a {kind}\nknown here: {', '.join(options)}"
        )


def _cut(student: Node, options: Node) -> dict[str, Any]:
    """Return a student's options with some changed; drop Matryoshka sizes that a new ``dimension`` excludes."""
    whole = {**student, **options}
    size = options.get("dimension")
    if isinstance(size, int) and "matryoshka" in student and "matryoshka" not in options:
        whole["matryoshka"] = [each for each in student["matryoshka"] if each < size]
    return whole


def resolve(config: Any) -> None:
    """Replace every saved student of a composed configuration, and its backbone, in place.

    This runs before interpolations are resolved, so that they refer to the replaced backbone. For other students, it
    compares the student with the one in the folder that ``backbone.model`` names, if any.

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
    """Yield the paths of nodes with a student, inner ones first; ``node`` is a dict, as OmegaConf is slow to search."""
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
        saved = Saved(**{**given, "folder": str(given["folder"])})  # a folder named 5 is read as a number
    except ConfigError as error:
        raise ConfigError(f"{key}{error}") from None
    nodes = saved.nodes(beside, key=key)
    with open_dict(node):
        node.student, node.backbone = OmegaConf.create(nodes.student), OmegaConf.create(nodes.backbone)


def _compare(student: Any, backbone: Any, key: str, *, trains: bool) -> None:
    """Compare a student with the one in the folder of its backbone, if any."""
    model = backbone.get("model")
    kinds = {entry.target: name for (kind, name), entry in entries().items() if kind == "student"}
    if not isinstance(model, str) or model == "???" or student.get("_target_") not in kinds:
        return
    folder = Path(model)
    inside = folder.is_dir() and any((place / MODULES).is_file() for place in folder.resolve().parents[:2])
    if not (model.startswith("package:") or holds(folder) or inside):  # the import below needs torch
        return
    from limbeck.students.bare import check

    check(kinds[student["_target_"]], student, model, key=key, trains=trains)
