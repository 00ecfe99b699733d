"""Pictures of one system and of several with long names: whole files, nothing cut off, no text over another."""

import re
import struct
import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from limbeck import labels
from limbeck.analysis.calibration import measure, summarise
from limbeck.analysis.quality import by_teacher
from limbeck.reporting import drawing, figures
from sparing_fonts import SHIPPED

LONG = "ckl loss.ckl.gamma=5 loss.ckl.alpha=1.5 loss.ckl.teacher_temperature=2 sampler.negatives=31 $a$ "


@pytest.fixture(autouse=True)
def as_shipped(monkeypatch):
    monkeypatch.setitem(drawing.STYLE, "pdf.fonttype", SHIPPED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


APART = 2.0
"""Dots that lie between two lines at least."""


def names(count):
    return ["kl"] if count == 1 else [f"{LONG}seed={i}" for i in range(count)]


def values(queries, seed):
    """Reciprocal ranks, as they are: mostly 0, 1, 1/2, …"""
    ranks = np.random.default_rng(seed).integers(1, 8, queries)
    return {f"q{i}": 0.0 if rank == 7 else 1 / int(rank) for i, rank in enumerate(ranks)}


def summaries(count, lists):
    groups = {}
    for number, name in enumerate(names(count)):
        for split, size in (("train", 2 * lists), ("test", lists)):
            generator = np.random.default_rng(number)
            teacher = generator.normal(0, 2, (size, 6))
            teacher[0, 0], teacher[1, 0] = 9, -9  # a teacher that is right, and one that is wrong
            student = teacher + generator.normal(0, 1, (size, 6))
            positive = np.tile([True, *[False] * 5], size)
            groups[name, split] = [measure(teacher.ravel(), student.ravel(), positive, np.arange(size + 1) * 6)]
    return summarise(groups)


def draw(kind, path, count, queries):
    teacher, baseline = values(queries, 0), [values(queries, 1), values(queries, 2)]
    systems = {name: [values(queries, 10 + i)] for i, name in enumerate(names(count))}
    if kind == "gain":
        buckets = {name: by_teacher(teacher, baseline, seeds) for name, seeds in systems.items()}
        return figures.gain_by_teacher(path, buckets, metric="mrr@10", baseline=f"{LONG}kl", teacher=f"{LONG}teacher")
    if kind == "against":
        return figures.against_teacher(path, teacher, systems, metric="mrr@10", name=f"{LONG}teacher")
    if kind == "sorted":
        return figures.sorted_gains(path, baseline, systems, metric="mrr@10", name=f"{LONG}kl")
    return figures.calibration(path, summaries(count, max(queries, 2)))


def texts(figure):
    """Return the boxes of all texts that can be seen, as the file has them that was written last."""
    hidden = set()
    for axes in figure.findobj(lambda artist: hasattr(artist, "get_xticks")):
        if not axes.get_visible():
            hidden.update(axes.findobj(Text))
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    hidden.update(tick.findobj(Text))
    seen = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in hidden]
    return {text: text.get_window_extent() for text in seen}


def words(figure):
    return "\n".join(text.get_text() for text in texts(figure))


KINDS = ["gain", "against", "sorted", "calibration"]


@pytest.mark.parametrize(
    ("kind", "count", "queries"),
    [
        *((kind, 1, 1) for kind in KINDS),
        ("gain", 8, 200),
        ("gain", 8, 3),
        ("against", 3, 50),  # three square panels, which one layout leaves wrong
        ("sorted", 4, 200),  # two rows of panels, one with empty cells
        ("calibration", 8, 50),  # as high as a page
    ],
)
def test_pictures_are_whole_and_legible(tmp_path, monkeypatch, kind, count, queries):
    path = tmp_path / "figures" / f"{kind}.png"
    saved = []
    save = Figure.savefig

    def watched(figure, *args, **options):
        save(figure, *args, **options)
        saved.append((figure.bbox, texts(figure)))  # the PNG is the first of two

    monkeypatch.setattr(Figure, "savefig", watched)
    draw(kind, path, count, queries)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    assert width in (495, 690, 1035)  # a column, two panels, a page: 3.3, 4.6, 6.9 inches
    assert 200 <= height <= 1425  # 9.5 inches: a page
    frame, boxes = saved[0]
    for text, box in boxes.items():
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1, text
        assert text.get_fontsize() >= 7
    found = list(boxes.items())
    for i, (text, box) in enumerate(found):
        for other, behind in found[i + 1 :]:
            aside = box.x1 <= behind.x0 or behind.x1 <= box.x0
            apart = aside or box.y1 + APART <= behind.y0 or behind.y1 + APART <= box.y0
            assert apart, f"{text} touches {other}"
    flat = " ".join(text.get_text() for text in boxes).replace("\n", " ").replace(r"\$", "$")
    for name in names(count):
        assert labels.configuration(name) in flat
    pdf = path.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    sides = re.search(rb"/MediaBox \[ 0 0 (\S+) (\S+) \]", pdf)
    assert sides
    assert float(sides[1]) == pytest.approx(width / 150 * 72)
    top = float(sides[2]) / 72 * 150
    title, *others = sorted(boxes, key=lambda text: -boxes[text].y0)
    assert boxes[title].y0 > top  # papers have captions
    assert all(boxes[text].y1 < top for text in others)
    assert b"/Subtype /Type3" not in pdf  # publishers refuse such fonts


def test_the_same_numbers_give_the_same_bytes_and_pyplot_knows_nothing_of_them(tmp_path):
    import matplotlib.pyplot as plt

    draw("against", tmp_path / "one.png", 1, 3)
    draw("against", tmp_path / "two.png", 1, 3)
    for kind_of_file in ("png", "pdf"):
        assert (tmp_path / f"one.{kind_of_file}").read_bytes() == (tmp_path / f"two.{kind_of_file}").read_bytes()
    assert plt.get_fignums() == []


def test_gains_by_teacher(tmp_path):
    good = {f"q{i}": i for i in range(10)}
    teacher = {"a": 0.0, "b": 0.1, "c": 0.3} | dict.fromkeys(good, 0.95)
    before = dict.fromkeys(teacher, 0.5)
    after = {"a": 0.6, "b": 0.8, "c": 0.1} | {query: 0.5 + i % 2 / 10 for query, i in good.items()}
    buckets = by_teacher(teacher, [before], [after])
    figure = figures.gain_by_teacher(tmp_path / "x.png", {"ckl": buckets}, metric="mrr@10", baseline="kl")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0 to 0.2\n2 queries\nmean 0.05",
        "0.2 to 0.5\n1 query\nmean 0.30",
        "0.5 to 1\n10 queries\nmean 0.95",
    ]
    assert axes.get_ylabel() == "gain in MRR@10"
    assert axes.get_xlabel() == "the teacher's MRR@10"
    (points,) = axes.containers
    assert points.lines[0].get_ydata() == pytest.approx([0.2, -0.4, 0.05])
    lengths = [
        np.ptp(np.reshape(segment, (-1, 2))[:, 1]) if len(segment) else np.nan
        for segment in points.lines[2][0].get_segments()
    ]
    expected = [2 * bucket.half_width for bucket in buckets]
    np.testing.assert_allclose(lengths, expected)  # NaN, not 0, for one query
    low, high = axes.get_ylim()
    assert low < -0.4 < 0.2 < high
    assert high - low < 1.5  # not the ±1.27 of two queries
    assert "Gain over KL" in words(figure)


def test_systems_with_other_buckets_are_refused(tmp_path):
    one = by_teacher({"a": 0.1, "b": 0.9}, [{"a": 0.0, "b": 0.0}], [{"a": 1.0, "b": 0.0}])
    two = by_teacher({"a": 0.8, "b": 0.9}, [{"a": 0.0, "b": 0.0}], [{"a": 1.0, "b": 0.0}])
    with pytest.raises(ValueError, match="two and one have different buckets"):
        figures.gain_by_teacher(tmp_path / "x.png", {"one": one, "two": two}, metric="mrr", baseline="kl")


def test_values_against_the_teacher(tmp_path):
    teacher = {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0, "e": 1.0, "f": 0.5}
    system = {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0, "e": 0.5, "f": 1.0}
    figure = figures.against_teacher(tmp_path / "x.png", teacher, {"ckl": [system]}, metric="mrr@10", name="cross")
    (axes,) = figure.axes
    (points,) = axes.collections
    sizes = {tuple(place): size for place, size in zip(points.get_offsets().data, points.get_sizes(), strict=True)}
    assert set(sizes) == {(0.0, 0.0), (1.0, 1.0), (1.0, 0.5), (0.5, 1.0)}
    assert sizes[0.0, 0.0] == sizes[1.0, 1.0] > sizes[1.0, 0.5] == sizes[0.5, 1.0]
    assert axes.get_title("left") == "CKL\n1 above, 1 below, 4 equal"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 query", "2 queries"]
    assert "cross (6 queries)" in words(figure).replace("\n", " ")


def test_a_name_is_not_read_as_a_formula(tmp_path):
    name, seeds = r"$\frac$", [values(5, 0)]
    buckets = {name: by_teacher(seeds[0], seeds, seeds)}
    made = [
        figures.gain_by_teacher(tmp_path / "1.png", buckets, metric="mrr@10", baseline=name, teacher=name),
        figures.against_teacher(tmp_path / "2.png", seeds[0], {name: seeds}, metric="mrr@10", name=name),
        figures.sorted_gains(tmp_path / "3.png", seeds, {name: seeds}, metric="mrr@10", name=name),
    ]
    assert all(words(figure).count(r"\$\frac\$") >= 2 for figure in made)


def test_large_counts_leave_the_headings_apart(tmp_path):
    teacher = {f"q{i}": 0.5 for i in range(30_000)}
    system = {query: i % 3 / 2 for i, query in enumerate(teacher)}
    figure = figures.against_teacher(tmp_path / "x.png", teacher, {n: [system] for n in "abc"}, metric="mrr@10")
    boxes = [box for text, box in texts(figure).items() if "10,000 above, 10,000 below" in text.get_text()]
    assert len(boxes) == 3
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_the_largest_point_covers_no_heading(tmp_path):
    system = {f"q{i}": 1.0 for i in range(100)}
    figure = figures.against_teacher(tmp_path / "x.png", system, {name: [system] for name in "abcd"}, metric="mrr@10")
    boxes = texts(figure)
    for axes in figure.axes[:4]:
        (points,) = axes.collections
        centre = axes.transData.transform((1.0, 1.0))[1]
        top = centre + points.get_sizes().max() ** 0.5 / 2 * figure.dpi / 72
        heading = next(box for text, box in boxes.items() if text is axes._left_title)
        assert top < heading.y0


def test_sorted_gains(tmp_path):
    before = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}
    after = {"a": 0.1, "b": 0.6, "c": 1.0, "d": 0.5}
    figure = figures.sorted_gains(tmp_path / "x.png", [before], {"ckl": [after]}, metric="ndcg@10", name="kl")
    (axes,) = figure.axes
    better, worse = (area.get_paths()[0] for area in axes.collections)
    for place, gain in ((1, 0.5), (2, 0.1), (3, 0.0), (4, -0.4)):
        for area, sign in ((better, 1), (worse, -1)):
            height = max(sign * gain, 0.0)
            assert area.contains_point((place, sign * (height - 0.01))) == (height > 0)
            assert not area.contains_point((place, sign * (height + 0.01)))
    mean = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert mean.get_ydata()[0] == pytest.approx(0.05)
    assert axes.get_title("left").startswith("CKL\n2 better, 1 worse, 1 equal\nmean +0.050 ± ")
    assert "over KL, query by query (4 queries)" in words(figure).replace("\n", " ")


def test_calibration(tmp_path):
    found = summaries(2, 10)
    figure = figures.calibration(tmp_path / "x.png", found)
    assert len(figure.subfigs) == 3
    for part, subset in zip(figure.subfigs, ("all", "teacher right", "teacher wrong"), strict=True):
        for axes, name in zip(part.axes, ("kl", "kl_positives", "kl_negatives"), strict=True):
            for points, split in zip(axes.containers, ("train", "test"), strict=True):
                expected = [one.means[name].value for one in found if (one.split, one.subset) == (split, subset)]
                assert points.lines[0].get_xdata() == pytest.approx(expected)
    assert "all lists (train: 20, test: 10)" in words(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "test"]
    only = [one for one in found if one.subset == "all" and one.split == "test"]
    assert len(figures.calibration(tmp_path / "y.png", only).subfigs) == 1


def test_there_is_nothing_to_draw(tmp_path):
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match="no buckets"):
        figures.gain_by_teacher(path, {}, metric="mrr", baseline="kl")
    with pytest.raises(ValueError, match="no systems"):
        figures.against_teacher(path, {"a": 1.0}, {}, metric="mrr")
    with pytest.raises(ValueError, match="no systems"):
        figures.sorted_gains(path, [{"a": 1.0}], {}, metric="mrr", name="kl")
    with pytest.raises(ValueError, match="no lists"):
        figures.calibration(path, [])
    with pytest.raises(ValueError, match="the value of query 'a' is nan"):
        figures.against_teacher(path, {"a": float("nan")}, {"s": [{"a": 1.0}]}, metric="mrr")
    assert not path.exists()
