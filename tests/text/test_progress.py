"""Long work shows a bar where one can be drawn, short work none."""

import io

from rich.console import Console

from limbeck.text import progress


def shown(monkeypatch, wait):
    written = io.StringIO()
    monkeypatch.setattr(progress, "_console", lambda: Console(file=written, force_terminal=True, width=80))
    monkeypatch.setattr(progress, "_WAIT", wait)
    assert list(progress.show([[1, 2], [3]], 3, "encoding 3 texts")) == [[1, 2], [3]]
    return written.getvalue()


def test_a_bar_appears_after_a_while(monkeypatch):
    assert "encoding 3 texts" in shown(monkeypatch, 0.0)
    assert shown(monkeypatch, 60.0) == ""
