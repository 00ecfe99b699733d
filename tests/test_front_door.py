"""``import limbeck``: fast, and what it offers is found by name, by completion and by type checkers."""

import ast
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


def test_a_loss_is_found_by_its_name():
    """That nothing heavy is imported before: test_config.py, in a process of its own."""
    assert "ckl" in dir(limbeck.losses)
    assert limbeck.losses.ckl.__name__ == "ckl"
