"""The page on the losses is that of the docstrings, and each docstring says what it must."""

import doctest
import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest
from loss_worlds import LOSSES, NAMES, TERMS, function, options_of

from limbeck.config import home
from limbeck.docstrings import sections
from limbeck.inspection.document import page as checks_page
from limbeck.losses.document import markdown, page

SECTIONS = ("Parameters", "Returns", "References", "Notes", "Examples")
MODULES = sorted(path.stem for path in (Path(inspect.getfile(page)).parent).glob("[a-z]*.py"))


def test_the_page_is_up_to_date():
    written = (home() / "docs" / "reference" / "losses.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m limbeck.losses.document > docs/reference/losses.md"


@pytest.mark.parametrize("name", NAMES)
def test_docstring_has_everything(name):
    text = inspect.getdoc(function(name))
    parts = sections(text)
    assert set(SECTIONS) <= set(parts)
    assert ".. math::" in parts["Summary"]
    assert ">>>" in parts["Examples"]
    assert any(shape in parts["Returns"] for shape in ("(B,)", "(N,)", "Scalar"))
    described = {key.strip() for line in parts["Parameters"].splitlines() if line[:1] != " " for key in line.split(",")}
    assert described == set(inspect.signature(function(name)).parameters) or described | {"teacher"} == set(
        inspect.signature(function(name)).parameters
    )
    if name not in TERMS:
        path, _, kind = LOSSES[name].path.rpartition(".")
        of_class = inspect.getdoc(getattr(importlib.import_module(path), kind))
        assert all(option in of_class for option in options_of(name))


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    found = doctest.testmod(importlib.import_module(f"limbeck.losses.{name}"))
    assert found.failed == 0
    assert found.attempted > 0 or name not in NAMES


def test_markdown():
    text = "A :func:`kl` of :math:`q`, ``x``.\n\n.. math:: a \\\\\n          b\n\nEnd.\n\n.. math:: c"
    fences = "```math\na \\\\\nb\n```", "```math\nc\n```"
    assert markdown(text) == f"A [`kl`](#kl) of $`q`$, `x`.\n\n{fences[0]}\n\nEnd.\n\n{fences[1]}"


PAGES = {"losses.md": (page, [function(name) for name in [*NAMES, "weighted_kl"]]), "checks.md": (checks_page, [])}


@pytest.mark.parametrize("name", PAGES)
def test_every_formula_is_typeset_and_nothing_of_rst_is_left(name):
    """Outside of code there is no directive, no role, no doubled backtick, no TeX; in fences there are all formulas."""
    make, functions = PAGES[name]
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", make(), flags=re.MULTILINE | re.DOTALL)
    typeset = ["".join(text.split()) for language, text in fences if language == "math"]
    written = [text for each in functions for text in formulas(inspect.getdoc(each))]
    assert sorted(typeset) == sorted(written)
    outside = re.sub(r"^```(\w*)\n(.*?)^```$", "", make(), flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"\$`[^`]*`\$", "", outside)
    raw = re.findall(r"^\.\. .*|:\w+:`|``|`_|\$|\\[a-zA-Z]+|^[-=~]{4,}$", outside, flags=re.MULTILINE)
    assert not raw


def formulas(docstring):
    """The formulas of a docstring without white space: a directive ends at the next line that is not indented."""
    found = []
    for block in docstring.split(".. math::")[1:]:
        first, *lines = block.split("\n")
        more = itertools.takewhile(lambda line: line[:1] == " ", lines)
        found.append("".join("".join([first, *more]).split()))
    return found


def test_each_loss_has_a_formula():
    assert all(formulas(inspect.getdoc(function(name))) for name in NAMES)
