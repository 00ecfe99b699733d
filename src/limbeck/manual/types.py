"""Types and defaults of keys in words."""

import ast
import re
from typing import Any

_WORDS = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "str": "text",
    "Any": "any value",
    "None": "null",
    "Finite": "a finite number",
    "Positive": "number > 0",
    "NonNegative": "number >= 0",
    "Share": "number between 0 and 1",
    "Count": "whole number >= 1",
    "WholeNonNegative": "whole number >= 0",
}
"""Simple types, and the ranges of ``limbeck.losses.ranges``."""


def words(annotation: str) -> str:
    """Return an annotation in words; an empty one is ``any value``.

    Examples
    --------
    >>> words("Literal['mean', 'cls'] | None")
    'mean, cls or null'
    >>> words("dict[str, float]"), words("list[int]"), words("NonNegative")
    ('mapping from text to number', 'list of whole number', 'number >= 0')
    """
    return _words(ast.parse(annotation or "Any", mode="eval").body)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return " or ".join([_words(node.left).replace(" or ", ", "), _words(node.right)])
    if isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            *others, last = (str(ast.literal_eval(each)) for each in inner)
            return f"{', '.join(others)} or {last}" if others else last
        if name == "list":
            return f"list of {_words(inner[0])}"
        if name == "dict":
            return f"mapping from {_words(inner[0])} to {_words(inner[1])}"
        return _words(inner[0])
    return _WORDS.get(ast.unparse(node), ast.unparse(node))


def kind_of(value: Any) -> str:
    """Return the type of a default in words; empty for null, and for a required key."""
    kinds = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list"}
    return kinds.get(type(value), "")


def choices(annotation: str) -> list[str]:
    """Return the words that a key accepts; empty if it accepts any value.

    Examples
    --------
    >>> choices("Literal['mean', 'cls'] | None"), choices("bool"), choices("int")
    (['mean', 'cls', 'null'], ['true', 'false'], [])
    """
    literals = [
        str(each) for text in re.findall(r"Literal\[([^]]*)\]", annotation) for each in ast.literal_eval(f"[{text}]")
    ]
    literals += ["true", "false"] * bool(re.search(r"\bbool\b", annotation))
    return [*literals, "null"] if literals and "None" in annotation else literals


def shown(value: Any) -> str:
    """Return a default as written on the command line; an interpolation with a default is replaced by that.

    Examples
    --------
    >>> shown(None), shown(True), shown([1, "a"]), shown("${oc.env:X,cache}"), shown({"a": {"b": 1.5}})
    ('null', 'true', '[1,a]', 'cache', '{a: {b: 1.5}}')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(each)}' for name, each in value.items())}}}"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e-3 else str(value)
    return re.sub(r"\$\{oc\.\w+:[^,}]*,([^}]*)\}", r"\1", str(value)) or '""'
