"""A table as LaTeX, for booktabs."""

import re
import unicodedata
from collections.abc import Sequence

from limbeck.reporting.results.cells import Cell, Table
from limbeck.reporting.results.wording import MISSING, NOT_OURS, UNTOLD, figure, heads, sentences, spans

PACKAGES = ("booktabs", "amssymb")
"""Packages that a document must load."""

_GREEK = [
    "alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "o", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "varphi", "chi", "psi", "omega",
]  # fmt: skip
_CAPITALS = {"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma",
             "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega"}  # fmt: skip
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": "`{}",
    "\u2060": "{}", "–": "--", "—": "---", "…": r"\dots{}", "’": "'", "‘": "`", "“": "``", "”": "''",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "→": r"$\to$",
    "∞": r"$\infty$", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "§": r"\S{}", "°": r"$^{\circ}$",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
    **{chr(0x3B1 + number): f"$\\{name}$" if name != "o" else "$o$" for number, name in enumerate(_GREEK)},
    **{letter: f"$\\{name}$" for letter, name in _CAPITALS.items()},
    "ε": r"$\varepsilon$", "ϵ": r"$\epsilon$", "φ": r"$\varphi$",
}  # fmt: skip
_ACCENTS = {0x300: "`", 0x301: "'", 0x302: "^", 0x303: "~", 0x304: "=", 0x306: "u", 0x307: ".", 0x308: '"', 0x30A: "r",
            0x30B: "H", 0x30C: "v", 0x327: "c"}  # fmt: skip


def escape(text: str) -> str:
    r"""Return text that LaTeX prints unchanged, in any encoding; unsupported characters become ``[U+…]``.

    Examples
    --------
    >>> escape("100 % of a_b: γ"), escape("é 中")
    ('100 \\% of a\\_b: $\\gamma$', "\\'{e} [U+4E2D]")
    """
    apart = re.sub("-(?=-)", "-\u2060", " ".join(text.split()))  # two hyphens would become a dash
    return "".join(map(_sign, unicodedata.normalize("NFC", apart)))


def _sign(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter.isascii():
        return letter if letter.isprintable() else ""
    base, *marks = unicodedata.normalize("NFD", letter)
    if base.isascii() and len(marks) == 1 and ord(marks[0]) in _ACCENTS:
        return f"\\{_ACCENTS[ord(marks[0])]}{{{base}}}"
    plain = unicodedata.normalize("NFKD", letter)
    return escape(plain) if plain.isascii() else f"[U+{ord(letter):04X}]"


def latex(table: Table) -> str:
    """Return a ``table`` environment; the runs it comes from and the commands of its rows follow as comments."""
    words, numbers = len(table.spec.rows), len(table.columns)
    packages = ", ".join(f"\\usepackage{{{each}}}" for each in PACKAGES)
    # A table wider than a column spans both columns of the page.
    environment = "table*" if words + 2 * numbers > 7 else "table"
    lines = [
        f"% limbeck table table={table.name}",
        f"% needs {packages}",
        f"\\begin{{{environment}}}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{escape(' '.join(sentences(table)))}}}",
        f"\\label{{tab:{_label(table.name)}}}",
        f"\\begin{{tabular}}{{{'l' * words}{'r' * numbers}}}",
        r"\toprule",
        *_top(table),
        r"\midrule",
        *_rows(table),
        *_references(table),
        *_published(table),
        r"\bottomrule",
        r"\end{tabular}",
        *_sources(table),
        f"\\end{{{environment}}}",
        *(f"% {' '.join(line.split())}" for line in _comments(table)),
    ]
    return "\n".join([*lines, ""])


def _label(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _top(table: Table) -> list[str]:
    first, rules, at = [""] * len(table.spec.rows), [], len(table.spec.rows) + 1
    for group, count in spans(table.columns):
        first.append(f"\\multicolumn{{{count}}}{{c}}{{{escape(table.spec.title(group))}}}")
        rules.append(f"\\cmidrule(lr){{{at}-{at + count - 1}}}")
        at += count
    metrics = [escape(table.spec.title(column.metric)) for column in table.columns]
    return [_line(first), "".join(rules), _line([*map(escape, heads(table)), *metrics])]


def _rows(table: Table) -> list[str]:
    lines = []
    for number, row in enumerate(table.rows):
        if number and len(row.labels) > 1 and row.labels[0] != table.rows[number - 1].labels[0]:
            lines.append(r"\addlinespace")
        lines.append(_line([*map(_first, row.labels), *(_cell(cell, table) for cell in row.cells)]))
    return lines


def _first(label: str) -> str:
    """Return a label; LaTeX would read a bracket at the start of a line as an argument of the previous line break."""
    return f"{{}}{escape(label)}" if label.startswith(("[", "*")) else escape(label)


def _cell(cell: Cell | None, table: Table, *, reference: bool = False) -> str:
    if cell is None:
        return "--" if reference else f"\\textit{{{MISSING}}}"
    each = figure(cell, table, reference=reference)
    written = f"\\textbf{{{each.mean}}}" if each.best else each.mean
    written += f"{{\\scriptsize$\\pm${each.std.removeprefix('0')}}}" if each.std else ""
    written += f"\\textsuperscript{{{escape(each.mark)}}}" if each.mark else ""
    return f"{written}\\textsubscript{{{each.seeds.split()[0]}}}" if each.seeds else written


def _references(table: Table) -> list[str]:
    if not table.references:
        return []
    words = len(table.spec.rows)
    return [
        r"\midrule",
        *(
            _line([f"\\multicolumn{{{words}}}{{l}}{{{escape(each.label)}}}",
                   *(_cell(cell, table, reference=True) for cell in each.cells)])
            for each in table.references
        ),
    ]  # fmt: skip


def _published(table: Table) -> list[str]:
    if not table.spec.published:
        return []
    words, numbers = len(table.spec.rows), len(table.columns)
    lines = [r"\midrule", f"\\multicolumn{{{words + numbers}}}{{l}}{{\\textit{{{NOT_OURS}}}}} \\\\"]
    for number, (each, values) in enumerate(table.published(), start=1):
        shown = ["--" if value is None else f"{value:.{table.spec.digits}f}" for value in values]
        label = f"{escape(each.system)}\\textsuperscript{{{number}}}"
        lines.append(_line([f"\\multicolumn{{{words}}}{{l}}{{{label}}}", *shown]))
    return lines


def _sources(table: Table) -> list[str]:
    sources = [
        f"\\textsuperscript{{{n}}}\\,{escape(each.source)}" for n, each in enumerate(table.spec.published, start=1)
    ]
    return [r"\par\smallskip", f"{{\\footnotesize {' '.join(sources)}\\par}}"] if sources else []


def _comments(table: Table) -> list[str]:
    lines = [*table.notes, "The commands of each row:"]
    for row in table.rows:
        lines.append(f"{' | '.join(row.labels)}:")
        lines += row.commands if row.line.runs else [f"{MISSING}: no run to take a command from"]
        if row.untold:
            lines.append(UNTOLD.format(count=row.untold))
    return lines
