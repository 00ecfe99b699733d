"""The tables on the pages of results are those that `limbeck table` has stored beside them."""

import json
import re

import pytest

from limbeck.config import home

FOLDER = home() / "docs" / "results"
MARK = re.compile(r"^<!-- table: (\w+)\.json -->\n\n((?:\|.*\n)+)", re.MULTILINE)
CELL = re.compile(r"(\*\*)?(\d*\.\d+)(?:\*\*)?(?: ± (\d*\.\d+))?([▲▼]?)(?: \(n=(\d+) of \d+\))?")


def shown():
    """Return page, name and lines of every table that a page says is stored."""
    return [
        (page, name, table.splitlines())
        for page in sorted(FOLDER.glob("*.md"))
        for name, table in MARK.findall(page.read_text(encoding="utf-8"))
    ]


def words(line):
    return [each.strip() for each in line.strip().strip("|").split("|")]


def same(written, cell, digits):
    """Tell whether a cell on a page is a stored one."""
    if cell is None:
        return written in ("*missing*", "–")
    found = CELL.fullmatch(written)
    if not found:
        return False
    bold, mean, std, mark, _ = found.groups()
    expected = [round(value, digits) for value in (cell["mean"], cell["std"]) if value is not None]
    return (
        [float(each) for each in (mean, std) if each] == pytest.approx(expected, abs=1e-9)
        and bool(bold) == cell["best"]
        and mark == cell["mark"]
    )


@pytest.mark.parametrize(("page", "name", "lines"), shown(), ids=lambda each: each if isinstance(each, str) else "")
def test_a_table_on_a_page_is_the_stored_one(page, name, lines):
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert words(lines[0]) == stored["heads"]
    rows = [(row["labels"], row["cells"]) for row in stored["rows"]]
    blank = [""] * (len(stored["heads"]) - len(rows[0][1]) - 1)
    rows += [([f"*{each['label']}*", *blank], each["cells"]) for each in stored["beside"]]
    assert len(lines) - 2 == len(rows)
    for line, (labels, cells) in zip(lines[2:], rows, strict=True):
        found = words(line)
        assert found[: len(labels)] == labels
        for written, cell in zip(found[len(labels) :], cells, strict=True):
            assert same(written, cell, stored["digits"]), f"{page.name}: {name}, {labels}: {written} is not {cell}"


REGRET = re.compile(r"^<!-- regret: (\w+)\.json -->\n\n((?:\|.*\n)+)", re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in FOLDER.glob("*.md") if REGRET.search(page.read_text("utf-8"))])
def test_the_regrets_on_a_page_are_the_stored_ones(page):
    for name, table in REGRET.findall(page.read_text(encoding="utf-8")):
        stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["regrets"]
        expected = [
            [each["system"], each["where"]]
            + [f"{100 * value:.1f}" for value in (each["mean"], each["largest"], *each["interval"])]
            for each in stored
        ]
        found = [words(line) for line in table.splitlines()[2:]]
        assert [[line[0], line[4], *re.findall(r"[\d.]+", " ".join(line[1:4]))] for line in found] == expected


def test_every_stored_table_is_shown():
    assert {path.stem for path in FOLDER.glob("*.json")} == {name for _, name, _ in shown()}


@pytest.mark.parametrize(
    "written", ["0.212", "**0.211** ± 0.005", "0.211 ± 0.006", "0.211 ± 0.005▲", "0.211", "–", "x"]
)
def test_another_figure_is_seen(written):
    cell = {"mean": 0.2113, "std": 0.0049, "seeds": 3, "best": False, "mark": ""}
    assert same("0.211 ± 0.005", cell, 3)
    assert same(".211 ± .005", cell, 3)
    assert not same(written, cell, 3)
