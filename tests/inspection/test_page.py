"""The report for people: escaped, in itself complete, with every picture."""

import base64
import json
import re

import numpy as np
import pytest

from limbeck.inspection.findings import check
from limbeck.inspection.losses import LossView
from limbeck.inspection.measures import measure
from limbeck.inspection.page import page
from limbeck.inspection.pictures import draw
from limbeck.inspection.printing import rows, show
from limbeck.inspection.summary import hardest, summarise

KL = LossView("kl", uses_scores=True, teacher_temperature=1.0)
EVIL = ['<script>alert("1")</script>', "[bold]q[/bold]"]
PICTURES = ["spread", "entropy", "positives", "overlap", "missing"]


@pytest.fixture
def made(tmp_path):
    def make(pool, objective=(KL,)):
        measures = measure(pool)
        figures = summarise(pool, measures, objective)
        report = {
            "source": {"teacher": "<b>me</b>", "losses": "kl"},
            "findings": [vars(finding) for finding in check(pool, objective=objective)],
            "ignored": ["near_flat"],
            "figures": figures,
            "hardest": hardest(pool, measures),
        }
        json.dumps(report, allow_nan=False)
        pictures = draw(tmp_path, pool, measures, figures)
        return report, page(report, rows(figures), pictures), pictures

    return make


def test_the_page_is_escaped_and_whole(made, pool, capsys):
    lists = [[-1.0, 2, 3, 4], [1.0, np.nan, 0, -1]]
    report, text, pictures = made(pool(lists, names=EVIL))
    assert [path.stem for path in pictures.values()] == PICTURES
    assert "<script" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in text
    assert "<b>me" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    inlined = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", text)]
    assert inlined == [path.read_bytes() for path in pictures.values()]
    assert all(data.startswith(b"\x89PNG") for data in inlined)
    assert "missing_scores" in text
    assert "Turned off: near_flat" in text
    assert report["hardest"][0]["query"] == EVIL[0]
    assert report["hardest"][0]["teacher_rank"] == 4
    show(report, rows(report["figures"]))
    out = capsys.readouterr().out
    assert "warning: missing_scores" in out
    assert "[bold]q[/bold]" in out  # the pair named first; markup is not obeyed
    assert re.search(r"pairs without a score +1 \(12%\)", out)


@pytest.mark.parametrize(
    ("lists", "ranks", "positives", "left"),
    [
        ([[np.nan, np.nan]], None, 1, ["missing"]),
        ([[1.0], [2.0]], None, 1, ["positives", "missing"]),
        ([[1.0, 1.0], [2.0, 2.0]], None, 1, ["spread", "positives", "missing"]),
        ([[1.0, 2.0], [2.0, 3.0]], [[0, 0], [0, 0]], 1, ["spread", "entropy", "positives", "missing"]),
        ([[1.0, 2.0], [2.0, 3.0]], None, 0, ["spread", "entropy", "overlap", "missing"]),
    ],
)
def test_what_there_is_nothing_to_say_of_is_left_out(made, pool, lists, ranks, positives, left, monkeypatch):
    # Drawn, not rendered: it is about which there are.
    monkeypatch.setattr("limbeck.inspection.pictures.save", lambda figure, path, title: path.write_bytes(b""))
    _, text, pictures = made(pool(lists, ranks=ranks, positives=positives))
    assert [path.stem for path in pictures.values()] == left
    assert "nan" not in text.lower().split("<h2>pictures</h2>")[0]


def test_the_figures(clean):
    pool, objective = clean(), [KL, LossView("ckl", uses_scores=True, teacher_temperature=3.0)]
    figures = summarise(pool, measure(pool), objective)
    lists = pool.scores.reshape(60, 20).astype(float)
    assert figures["queries"] == figures["queries_measured"] == 60
    assert figures["spread"]["std"]["median"] == pytest.approx(np.median(lists.std(axis=1)))
    assert figures["positives"]["first_by_teacher"] == pytest.approx((lists.argmax(axis=1) == 0).mean())
    assert figures["positives"]["first_by_chance"] == pytest.approx(0.05)
    curve = figures["entropy"]["curve"]
    assert sorted(curve["median"]) == curve["median"]
    assert curve["median"][0] < 0.05
    assert curve["median"][-1] > 0.99
    for name, temperature in (("kl", 1.0), ("ckl", 3.0)):
        at = figures["entropy"]["configured"][name]
        assert np.interp(temperature, curve["temperature"], curve["median"]) == pytest.approx(
            at["median_entropy"], abs=0.01
        )
