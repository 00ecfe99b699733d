"""A loss reads like its formula: how long the bodies are, and where the functions are found."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loss_worlds import ON_SCORES, TERMS, function

from limbeck.config import home

LONGEST = {"ckl": 15, "kl": 8, "margin_mse": 8, "bkl": 8, "kl_ll": 8}
SOURCES = Path(inspect.getfile(inspect.unwrap(function("kl")))).parent


def body_lines(name):
    """Lines of a function's body, its docstring apart."""
    tree = ast.parse((SOURCES / f"{name}.py").read_text())
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    docstring, first, *_ = found.body
    assert isinstance(docstring, ast.Expr)
    return found.end_lineno - first.lineno + 1


@pytest.mark.parametrize("name", [*ON_SCORES, "weighted_kl"])
def test_bodies_are_short(name):
    assert body_lines(name) <= LONGEST.get(name, 15)


def test_the_lines_of_a_body_are_counted():
    assert body_lines("kl") == 3


@pytest.mark.parametrize("name", TERMS)
def test_there_is_no_class_beside_a_function(name):
    tree = ast.parse((SOURCES / f"{name}.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


IMPORTS = """
{before}
from limbeck.losses import {name}
assert callable({name}) and {name}.__module__ == "limbeck.losses.{name}", {name}
import importlib
assert importlib.import_module("limbeck.losses.{name}").{name} is {name}
"""


@pytest.mark.parametrize(
    "before", ["", "import limbeck.losses.{name}", "import limbeck.losses.term, limbeck.losses.bkl"]
)
@pytest.mark.parametrize("name", ["ckl", "kl"])
def test_the_package_gives_the_functions(name, before, forked, tmp_path):
    def fresh():
        for module in [module for module in sys.modules if module.startswith("limbeck.losses")]:
            del sys.modules[module]
        exec(IMPORTS.format(name=name, before=before.format(name=name)), {})

    status, out = forked.run([], tmp_path, main=fresh)
    assert status == 0, out


def test_the_package_imports_nothing_before_it_is_asked():
    code = (
        "import sys, limbeck.losses; assert 'torch' not in sys.modules; assert not hasattr(limbeck.losses, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env={**os.environ, "HOME": str(home())})
