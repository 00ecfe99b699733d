"""Loads a student's weights outside its transformer (projection, head, query weights) from the same folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.backbones import stanford, tables
from limbeck.backbones.adapters import plain_name
from limbeck.backbones.backbone import HEAD, Backbone
from limbeck.backbones.bags import StaticModel
from limbeck.backbones.layout import READERS, Layout, around
from limbeck.backbones.sources import clear_errors, quiet, report, report_top
from limbeck.config import ConfigError
from limbeck.students.base import Student

_SECOND = "query_backbone."


@dataclass(frozen=True)
class Lacking:
    """Parameters of a student outside ``backbone`` that were not loaded.

    A learned scale is not among them: its initial value is an option.
    """

    anew: Sequence[str] = ()
    """Parameters that are initialised at random."""
    copied: Sequence[str] = ()
    """Parameters of the queries' transformer, which are initialised as a copy of the documents'."""

    def without(self, name: str) -> "Lacking":
        """Return a copy without a parameter that has been loaded from elsewhere."""
        return replace(self, anew=[each for each in self.anew if each != name])


def load_top(student: Student, source: Backbone) -> Lacking:
    """Load a student's weights outside its transformer, from limbeck's file or a folder of sentence-transformers.

    Log the parameters that are not there, except those of a queries' transformer copied from the documents'.

    Raises
    ------
    ConfigError
        Weights do not fit the student, or a file cannot be read.
    """
    where = source.path
    if where is None:  # a backbone without a checkpoint
        return Lacking()
    anew: set[str] = set()
    given = _ours(student, where)
    if stanford.is_stanford(Path(where)) and "projection.weight" in student.state_dict():
        given |= _fitting(student, {"projection.weight": stanford.projection(Path(where))}, where)
    found = around(Path(where))
    if found is not None:
        with quiet(), clear_errors(str(found.folder)):
            theirs = _layers(student, found) | _queries(student, found, anew)
        own = student.state_dict()
        wrong = [name for name, value in theirs.items() if name not in own or own[name].shape != value.shape]
        if wrong:
            raise found.refuse(f"{', '.join(wrong)} do not fit the student")
        given |= theirs
    student.load_state_dict(given, strict=False)
    report_top(student, given, where)
    names = _without(student, given.keys() - anew)
    copied = [name for name in names if name.startswith(_SECOND) and name not in anew]
    return Lacking([name for name in names if name not in copied], copied)


def _fitting(student: nn.Module, weights: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the weights; raise an error if their shapes differ from the student's."""
    own = student.state_dict()
    for name, value in weights.items():
        if own[name].shape != value.shape:
            raise ConfigError(
                f"model: {where!r} has {name} of shape {tuple(value.shape)}, but the student needs "
                f"{tuple(own[name].shape)}; load the whole student: student=saved student.folder={where}"
            )
    return weights


def _without(student: nn.Module, given: set[str]) -> list[str]:
    """Return the parameters outside the backbone that were not loaded under any of their names."""
    every = list(student.named_parameters(remove_duplicate=False))
    known = {id(value) for name, value in every if name in given or name.startswith("backbone.")}
    return [
        name
        for name, value in student.named_parameters()
        if id(value) not in known and name != "log_scale" and "lora_" not in name
    ]


def _ours(student: nn.Module, where: str) -> dict[str, Tensor]:
    """Return the weights in limbeck's file next to the transformer, by their names in the student."""
    path = Path(where) / HEAD
    if not path.is_file():
        return {}
    with clear_errors(where):
        top = load_file(path)
    own = {plain_name(name): name for name in student.state_dict()}
    state = student.state_dict()
    wrong = sorted(name for name, value in top.items() if name not in own or state[own[name]].shape != value.shape)
    if wrong:
        raise ConfigError(
            f"model: {path} holds {', '.join(wrong)}, which do not fit this student; choose the student's kind"
        )
    return {own[name]: value for name, value in top.items()}


def _layers(student: nn.Module, found: Layout) -> dict[str, Tensor]:
    """Return the weights of the linear layer, or the query token weights, by their names in the student."""
    own = student.state_dict()
    tables = [module for module in found.queries if module.type == "SparseStaticEmbedding"]
    if "query_table" in own and tables:
        return {"query_table": tables[0].weights["weight"]}
    layers = [module for module in found.documents if module.type == "Dense"]
    for name in ("projection", "head"):
        if f"{name}.weight" in own and layers:
            return {f"{name}.{key.removeprefix('linear.')}": value for key, value in layers[0].weights.items()}
    return {}


def _queries(student: Student, found: Layout, anew: set[str]) -> dict[str, Tensor]:
    """Return the weights of a separate queries' transformer by their names; add those it lacks to ``anew``."""
    queries: Any = student.query_backbone
    separate = [m for m in found.queries if m.type in READERS]
    if queries is None or not separate:
        return {}
    if isinstance(queries, StaticModel):
        return {f"{_SECOND}{tables.VECTORS}": tables.read(separate[0].folder)}
    loaded, info = type(queries).from_pretrained(
        separate[0].folder,
        config=queries.config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # reported by `report`
        output_loading_info=True,
    )
    fresh = report(loaded, info, str(separate[0].folder), queries.config.num_hidden_layers)
    own = {plain_name(name): name for name in queries.state_dict()}  # names without those of adapters
    anew |= {f"{_SECOND}{own[name]}" for name in fresh if name in own}
    return {f"{_SECOND}{own[name]}": value for name, value in loaded.state_dict().items() if name in own}
