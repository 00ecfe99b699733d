"""The benchmark of scale at a tiny size, and the arithmetic of its projection."""

import mmap
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import projection  # noqa: E402
import scale  # noqa: E402

SIZE = 60_000_000
"""Bytes; far more than the process takes or gives back meanwhile."""
TINY = {
    "--lists": ["20"],
    "--candidates": ["2", "4"],
    "--lengths": ["8", "16"],
    "--documents": ["150"],
    "--pairs": ["9000"],
    "--rounds": ["1"],
    "--peak": ["1e14"],
}


@pytest.mark.slow
def test_every_part_is_measured(monkeypatch, capsys, limbeck):
    """In this process: how memory is measured apart is tested below, and processes would take half a minute."""
    printed = []

    def command(*words):
        printed.append(capsys.readouterr().out)  # which the fixture would take for the command's
        return limbeck(*words, small=False)[2], 1.0

    monkeypatch.setattr(scale.search, "limbeck", command)
    processes = SimpleNamespace(run=lambda words, **_: command(*words[3:]), DEVNULL=None)
    monkeypatch.setattr(scale.store, "subprocess", processes)
    monkeypatch.setattr(scale.search, "apart", lambda function, *given: function(*given))
    for name, small in {"WIDTH": 32, "DRAWN": 64, "LOOKED_UP": 64}.items():
        monkeypatch.setattr(scale, name, small)
    words = [word for name, values in TINY.items() for word in (name, *values)]
    monkeypatch.setattr(sys, "argv", ["scale.py", *words])
    scale.main()
    told = "".join([*printed, capsys.readouterr().out])
    titles = re.findall(r"^### (.+)$", told, re.MULTILINE)
    assert [title.split(" ")[0].strip(",") for title in titles] == [
        *("Lists", "Candidates", "Length", "Corpus", "Score", "Exponents", "Memory", "Projected")
    ]
    for cost in scale.EXPONENTS:
        assert re.search(rf"^\| {re.escape(cost)} \| (-?\d+\.\d\d|nan) \| ", told, re.MULTILINE), cost
    assert "100 TFLOP/s" in told


def test_the_exponent_is_the_slope_of_the_logarithms():
    rows = [{"n": n, "cost": 0.3 * n**1.7} for n in (10, 100, 500)]
    assert scale.exponent(rows, "n", scale.value("cost")) == pytest.approx(1.7)
    assert scale.grown(rows, "n") == 50


def test_the_projection_follows_from_its_assumptions():
    given = projection.Assumptions(peak=1e14, utilisation=0.5, efficiency=0.75)
    job = projection.Job("train", "BERT-base", 1e9, 6)
    assert job.parameters == pytest.approx(85e6, rel=0.01)  # the layers of BERT-base, biases and norms left out
    assert job.seconds(given) == pytest.approx(6 * job.parameters * 1e9 / 5e13)
    assert job.seconds(given) / job.seconds(given, 8) == pytest.approx(6.0)
    told = projection.project(given)
    assert "not measured" in told
    for assumption in ("100 TFLOP/s", "50%", "75%", "6 P tokens", "2 P tokens", "83 tokens a passage"):
        assert assumption in told
    assert {job.tokens for job in projection.jobs()} >= {500_000 * 32 * 91, 8_841_823 * 83}


def test_memory_is_what_the_process_holds_itself(tmp_path):
    """Pages of its own count, those of a mapped file do not."""
    file = tmp_path / "mapped"
    file.write_bytes(bytes(SIZE))
    before = scale.own_memory()
    held = np.ones(SIZE, np.uint8)  # touches every page; so large that malloc takes new ones
    own = scale.own_memory()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), SIZE, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0  # reads every page
        both = scale.own_memory()
    assert own - before > 0.75 * held.nbytes / 1e6
    assert both - own < 0.25 * held.nbytes / 1e6
