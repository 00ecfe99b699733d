"""What a sweep shows: a line while its jobs run, the tables at its end."""

import io
import json
import sys

import pytest

from limbeck.reporting.sweep_table import show
from limbeck.reporting.watch import Watch


@pytest.mark.parametrize("live", [True, False])
def test_a_line_is_drawn_on_a_terminal_only_where_no_job_draws(live, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Watch([], live=live):
        pass
    assert ("0 of 0 runs done" in terminal.getvalue()) == live


def test_runs_that_lack_a_key_are_shown_without_it(runs, capsys):
    swept = [["loss=kl"], ["loss=ckl", "loss.ckl.gamma=2"], ["loss=ckl", "loss.ckl.gamma=5"]]
    outcomes = []
    for overrides in swept:
        folder = runs.add(loss=overrides[0].removeprefix("loss="))
        result = json.loads((folder / "result.json").read_text())
        result["rows"] = [row for row in result["rows"] if row["key"] != "teacher"]
        outcomes.append({"overrides": overrides, "name": "sweep", "folder": str(folder), "result": result})
    show(outcomes)
    out = capsys.readouterr().out
    rows = [line.split()[:3] for line in out.splitlines() if "distilled" in line]
    assert "loss.ckl.gamma" in out
    assert rows == [["kl", "student,", "distilled"], ["ckl", "2", "student,"], ["ckl", "5", "student,"]]
