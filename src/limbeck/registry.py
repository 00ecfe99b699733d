"""Register parts by name: the constructor's signature is the schema of the configuration.

``@register("loss", "ckl")`` names a class or function. Its keyword-only parameters are its configuration; the program
supplies the parameters before the ``*`` at run time (a run folder, a tokenizer). A function registered as a loss
becomes a term of the objective, so it also has the options ``weight`` and ``schedules``. The schema is read from the
source text, so that a configuration can be checked in a fraction of a second, before torch or anything heavy is
imported.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from limbeck.docstrings import explained

T = TypeVar("T", bound=Callable[..., Any])

_registered: dict[tuple[str, str], str] = {}
_SIMPLE: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "Any": Any}
_RANGES: dict[str, Any] = {
    **dict.fromkeys(("Finite", "Positive", "NonNegative", "Share"), float),
    **dict.fromkeys(("Count", "WholeNonNegative"), int),
}
"""Types of ``limbeck.losses.ranges``, which OmegaConf checks as plain numbers."""


class RegistryError(ValueError):
    """A part cannot be registered: its name is taken, or its signature is not usable as a schema."""


@dataclass(frozen=True)
class Parameter:
    """One keyword-only parameter: its name, OmegaConf type and default (``...`` where it has none)."""

    name: str
    type: Any
    default: Any
    annotation: str = field(default="", compare=False)
    """The type, as written in the signature."""
    text: str = field(default="", compare=False)
    """Its explanation in the docstring."""


TERM = "limbeck.losses.term.Term"
"""Builds a term of the objective from a function that is registered as a loss."""

_OF_TERM = (
    Parameter("weight", float, 1.0, "float", "Factor of this term in the objective; 0 keeps it as a measurement."),
    Parameter(
        "schedules", Any, None, "Any",
        "Option → schedule over the steps, for any numeric option, ``weight`` too: docs/reference/losses.md.",
    ),
)  # fmt: skip
"""Options of a term of the objective, besides those of its function."""


@dataclass(frozen=True)
class Entry:
    """A registered part."""

    kind: str
    name: str
    path: str
    """Dotted path of the class or function, from which it is imported."""
    parameters: tuple[Parameter, ...]
    parts: tuple[str, ...] = ()
    """Keys of nodes that the program builds itself and passes in."""
    builder: str | None = None
    """Dotted path of a class that is built from the function and the options; None calls the part itself."""
    title: str = field(default="", compare=False)
    """First line of the module's docstring."""
    doc: str = field(default="", compare=False)
    """Docstring of the class or function."""

    @property
    def target(self) -> str:
        """``KIND/NAME``, the part's name in configurations, which stays valid if the class moves to another module."""
        return f"{self.kind}/{self.name}"


def register(kind: str, name: str, *, parts: tuple[str, ...] = ()) -> Callable[[T], T]:
    """Register a class or function as a part of a kind.

    Parameters
    ----------
    kind
        ``loss``, ``student``, ``backbone``, ``teacher``, ``candidates``, ``sampler``, …
    name
        As users write it; also the name of the module and of its YAML file.
    parts
        Keys of further nodes in this part's configuration that the program builds: a teacher's student and backbone.

    Raises
    ------
    RegistryError
        Another part has this name.
    """

    def mark(part: T) -> T:
        target = f"{part.__module__}.{part.__qualname__}"
        other = _registered.setdefault((kind, name), target)
        if other != target:
            raise RegistryError(f"{kind} {name!r} is already registered by {other}; give {target} another name")
        return part

    return mark


def is_registered(kind: str, name: str) -> bool:
    """Return whether a part of this kind and name has been imported."""
    return (kind, name) in _registered


def scan(folder: Path, package: str) -> dict[tuple[str, str], Entry]:
    """Read every registered part below a source folder, without importing it.

    Parameters
    ----------
    folder
        The folder of the sources, ``src/limbeck``.
    package
        Its dotted package name, ``limbeck``.
    """
    found: dict[tuple[str, str], Entry] = {}
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "@register(" not in source:
            continue
        parts = path.relative_to(folder).with_suffix("").parts
        module = ".".join((package, *(part for part in parts if part != "__init__")))
        for entry in _entries(ast.parse(source, str(path)), module, path):
            key = (entry.kind, entry.name)
            if key in found:
                raise RegistryError(f"{path}: {entry.kind} {entry.name!r} is already registered by {found[key].path}")
            found[key] = entry
    return found


def _entries(tree: ast.Module, module: str, path: Path) -> list[Entry]:
    entries = []
    title = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if not (isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "register"):
                continue
            kind, name = (ast.literal_eval(argument) for argument in mark.args)
            parts = next((ast.literal_eval(item.value) for item in mark.keywords if item.arg == "parts"), ())
            function = _constructor(node)
            doc = ast.get_docstring(node) or ""
            parameters = () if function is None else _parameters(function, path, explained(doc))
            term = kind == "loss" and isinstance(node, ast.FunctionDef)
            parameters = (*_OF_TERM[:1], *parameters, *_OF_TERM[1:]) if term else parameters
            path_of_part, builder = f"{module}.{node.name}", TERM if term else None
            entries.append(Entry(kind, name, path_of_part, parameters, parts, builder, title, doc))
    return entries


def _constructor(node: ast.ClassDef | ast.FunctionDef) -> ast.FunctionDef | None:
    if isinstance(node, ast.FunctionDef):
        return node
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def _parameters(function: ast.FunctionDef, path: Path, texts: dict[str, str]) -> tuple[Parameter, ...]:
    if function.args.kwarg is not None:
        raise RegistryError(f"{path}:{function.lineno}: **{function.args.kwarg.arg} would swallow misspelt options")
    result = []
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        where = f"{path}:{argument.lineno}: parameter {argument.arg}"
        if argument.annotation is None:
            raise RegistryError(f"{where} has no annotation")
        try:
            value = ... if default is None else ast.literal_eval(default)
        except ValueError:
            raise RegistryError(f"{where}: the default must be a literal") from None
        kind, written = _omegaconf_type(argument.annotation, where), ast.unparse(argument.annotation)
        result.append(Parameter(argument.arg, kind, value, written, texts.get(argument.arg, "")))
    return tuple(result)


def _omegaconf_type(node: ast.expr, where: str) -> Any:
    """Return the type by which OmegaConf checks an annotation; Literal, which it does not know, becomes str."""
    if isinstance(node, ast.Name) and node.id in _SIMPLE | _RANGES:
        return (_SIMPLE | _RANGES)[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        if isinstance(node.right, ast.Constant) and node.right.value is None:
            return _omegaconf_type(node.left, where) | None
        return Any  # a union of several types: the constructor checks the value
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "Literal":
            return str
        if node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            return _omegaconf_type(node.slice.elts[0], where)
        if node.value.id == "list":
            return list[_omegaconf_type(node.slice, where)]
        if node.value.id == "dict" and isinstance(node.slice, ast.Tuple):
            key, value = (_omegaconf_type(item, where) for item in node.slice.elts)
            return dict[key, value]
    raise RegistryError(f"{where}: {ast.unparse(node)} is no type a configuration can check")
