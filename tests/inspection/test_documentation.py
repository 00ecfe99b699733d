"""The page on the checks is that of the docstrings, and each check can be configured and is documented."""

import inspect

import pytest
import yaml

from limbeck.config import entries, home
from limbeck.docstrings import sections
from limbeck.inspection.document import page
from limbeck.inspection.findings import checks, severity_of

NAMES = sorted(checks())


def test_the_page_is_up_to_date():
    written = (home() / "docs" / "reference" / "checks.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m limbeck.inspection.document > docs/reference/checks.md"


@pytest.mark.parametrize("name", NAMES)
def test_docstring_has_everything(name):
    function = checks()[name]
    parts = sections(inspect.getdoc(function))
    assert len(parts["Summary"].split("\n\n")) == 2
    assert parts["Remedy"].strip()
    options = [parameter.name for parameter in inspect.signature(function).parameters.values()][1:]
    described = [
        name for line in parts.get("Parameters", "").splitlines() if line[:1].strip() for name in line.split(", ")
    ]
    assert described == options
    assert options == [item.name for item in entries()["check", name].parameters]
    assert f"| [`{name}`](#{name}) | {severity_of(function)} |" in page()


def test_the_configuration_has_every_check():
    node = yaml.safe_load((home() / "conf" / "checks" / "default.yaml").read_text())
    assert {f"/schema/check@{name}": name for name in NAMES}.items() <= {
        key: value for item in node["defaults"] if isinstance(item, dict) for key, value in item.items()
    }.items()
