"""Tables as LaTeX and Markdown: escaped, compiled, read back."""

import re
import shutil
import string
import subprocess

import pytest

from limbeck.experiment.table import tabulate
from limbeck.reporting.results import latex, markdown

NASTY = r"100% of a_b & c#d $x$ {y} ~z^2 \cite{k} <b> | `c` -- γ and α, Ω ≥ 1 é ß ł 中 [n]" + string.punctuation
GREEK = "αβγδεζηθικλμνξοπρςστυφχψωΓΔΘΛΞΠΣΦΨΩϵ"


@pytest.fixture
def compiled(tmp_path):
    """Compile LaTeX with pdflatex; returns its log."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")

    def call(text):
        packages = "".join(f"\\usepackage{{{each}}}" for each in latex.PACKAGES)
        document = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{text}\n\\end{{document}}\n"
        (tmp_path / "t.tex").write_text(document, encoding="utf-8")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
            cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "t.pdf").stat().st_size > 1000
        return done.stdout

    return call


@pytest.fixture
def full(runs):
    """A table with all that there can be in it, and signs that LaTeX and Markdown would take for their own."""
    for seed in (1, 2):
        for loss, level in (("kl", 0.5), ("ckl", 0.55)):
            runs.add(loss=loss, seed=seed, level=level, collection=f"/my data/{NASTY.replace('/', '')}")
    runs.add(loss="bkl", collection=f"/my data/{NASTY.replace('/', '')}", sets={"a_b": 0.4})
    group = NASTY.replace("/", "")
    spec = {
        "caption": NASTY,
        "runs": ["sweep"],
        "rows": ["student", "loss"],
        "also": ["first_stage", "teacher"],
        "baseline": {"loss": "kl"},
        "expect": {"loss": ["kl", "ckl", "l1"]},
        "titles": {"loss": NASTY, "ndcg@10": "γ"},
        "labels": {"loss": {"kl": NASTY}, "student": {"dense": "[x] y"}},
        "published": [{"system": NASTY, "source": NASTY, "values": {group: {"ndcg@10": 0.3}}}],
    }
    config = {
        "table": spec,
        "comparison": {"_target_": "comparison/comparison"},
        "paths": {"runs": str(runs.root)},
        **dict.fromkeys(("partial", "mix_commits", "mix_data"), False),
    }
    return tabulate(config, "a_b")


def test_everything_escaped_compiles(full, compiled):
    text = latex.latex(full)
    assert text.isascii() or all(line.startswith("%") for line in text.splitlines() if not line.isascii())
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){3-4}", r"\textit{missing}", r"$\gamma$"):
        assert part in text
    assert r"$\blacktriangle$" in text
    assert r"\textit{Published by others, not our results}" in text
    log = compiled(text)
    assert "Undefined" not in log


@pytest.mark.parametrize(
    "letter", [*string.printable, *"αβγδεζηθικλμνξοπρςστυφχψωΓΔΘΛΞΠΣΦΨΩéüñçßæøłİ…–—“”×±≤≥中😀\u2060"]
)
def test_a_sign_is_ascii_in_latex(letter):
    assert latex.escape(f"a{letter}b").isascii()


def test_all_signs_compile(compiled):
    signs = "".join(map(chr, range(0x20, 0x250))) + GREEK + "–—…’‘“”±×·≤≥≠→∞▲▼中😀"
    compiled("\n\n".join(latex.escape(f"x {sign} y -- ?` !` << >> ,,") for sign in signs))


def test_every_column_of_markdown_is_its_own(full):
    lines = [line for line in markdown.markdown(full).splitlines() if line.startswith("| ")]
    bars = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines]
    columns = 2 + len(full.columns)
    assert bars == [columns + 1] * len(lines)
    assert not any("<b>" in line for line in lines)


def test_markdown_as_a_parser_reads_it(full):
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    tokens = reader.parse(markdown.markdown(full))
    cells = [
        "".join(each.content for each in tokens[number + 1].children or [] if each.type in ("text", "text_special"))
        for number, token in enumerate(tokens)
        if token.type in ("th_open", "td_open")
    ]
    assert NASTY in cells  # the label of KL, as it was given
    commands = [token.content for token in tokens if token.type == "fence"]
    assert any("limbeck train -m" in command for command in commands)
