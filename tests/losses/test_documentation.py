"""The page on the losses is that of the docstrings, and each docstring says what it must."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
from loss_worlds import LOSSES, NAMES, TERMS, function, options_of

from limbeck.config import home
from limbeck.docstrings import sections
from limbeck.inspection.document import page as checks_page
from limbeck.losses.document import page

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
    assert "```math" in parts["Summary"]
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


PAGES = {"losses.md": page, "checks.md": checks_page}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_raw_on_a_page(name):
    """Outside of code and formulas there is no TeX, no reStructuredText, no underline of a section."""
    outside = re.sub(r"^ *```(\w*)\n(.*?)^ *```$", "", PAGES[name](), flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"\$`[^`]*`\$", "", outside)
    raw = re.findall(r"^\.\. .*|:\w+:`|`_|\$|\\[a-zA-Z]+|^[-=~]{4,}$", outside, flags=re.MULTILINE)
    assert not raw


def test_no_docstring_is_restructured_text():
    """One text serves ``help``, the pages and the site: Markdown."""
    sources = (home() / "src").rglob("*.py")
    assert not [str(path) for path in sources if re.search(r":[a-z]+:`|^ *\.\. \w+::", path.read_text(), re.MULTILINE)]
