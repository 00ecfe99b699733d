"""Tables on the terminal."""

import math

from limbeck.reporting.terminal import show_rows


def test_values_that_look_like_markup_are_shown_as_they_are(capsys):
    numbers = {"ndcg@10": 0.5, "mrr": None, "gain": math.nan, "p": 1e-9}
    show_rows([{"loss": "[kl,flops]", "system": "[bold]x[/bold]", **numbers}], ["loss", "system"], "runs of [kl]")
    out = capsys.readouterr().out
    assert "runs of [kl]" in out
    assert "[kl,flops]" in out
    assert "[bold]x[/bold]" in out
    assert out.split("0.5000")[1].split() == ["–", "–", "<0.0001"]
