"""``import limbeck``: fast, and what it offers is found by name, by completion and by type checkers."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import limbeck

SOURCE = Path(limbeck.__file__).read_text()


def test_what_it_offers_is_found():
    for name in limbeck.__all__:
        assert getattr(limbeck, name) is not None
    assert {*limbeck.__all__, "__version__"} <= set(dir(limbeck))
    assert limbeck.__version__ == version("limbeck")
    with pytest.raises(AttributeError, match="module 'limbeck' has no attribute 'nothing'"):
        limbeck.nothing  # noqa: B018


def test_editors_see_what_it_offers():
    (block,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    seen = {each.asname for node in block.body if isinstance(node, ast.ImportFrom) for each in node.names}
    assert seen == set(limbeck.__all__)


CODE = """
import sys, limbeck
dir(limbeck), limbeck.ConfigError, limbeck.losses, dir(limbeck.losses)
heavy = {"torch", "numpy", "transformers", "hydra", "lightning"} & set(sys.modules)
assert not heavy, heavy
assert "ckl" in dir(limbeck.losses)
assert limbeck.losses.ckl.__name__ == "ckl" and "torch" in sys.modules
"""


def test_nothing_heavy_is_imported_before_it_is_asked_for():
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=120)
