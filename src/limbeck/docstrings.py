"""Docstrings as text for people: their sections, the parameters they explain, and their Markdown as plain text.

A docstring is in numpydoc format with Markdown text and formulas as code hosts read them: in blocks fenced as ``math``,
and in lines between dollar signs with backticks. So one text serves Python's ``help``, the site and the pages.
"""

import re
import textwrap


def sections(docstring: str) -> dict[str, str]:
    """Split a numpydoc docstring into its sections; the text before the first is called ``Summary``.

    Parameters
    ----------
    docstring
        Without the indentation of the source, as ``inspect.getdoc`` and ``ast.get_docstring`` return it.
    """
    pieces = re.split(r"^(\w+)\n-{3,}\n", docstring, flags=re.MULTILINE)
    found = {"Summary": pieces[0].strip()}
    found.update({name: text.strip("\n") for name, text in zip(pieces[1::2], pieces[2::2], strict=True)})
    return found


def fields(text: str) -> list[tuple[list[str], str]]:
    r"""Return the entries of a section ``Parameters``: names that share an explanation, and the explanation.

    Examples
    --------
    >>> fields("a, b\n    Both.\nc\n    This,\n    and that.")
    [(['a', 'b'], 'Both.'), (['c'], 'This,\nand that.')]
    """
    items = re.findall(r"^(\S.*)\n((?:[ ]+.*\n?|\n)*)", text, flags=re.MULTILINE)
    return [([name.strip() for name in names.split(",")], textwrap.dedent(body).strip()) for names, body in items]


def explained(docstring: str) -> dict[str, str]:
    """Return a docstring's explanation of each parameter, by name."""
    found = fields(sections(docstring).get("Parameters", ""))
    return {name: text for names, text in found for name in names}


def plain(text: str) -> str:
    r"""Return the Markdown of docstrings as plain text in one paragraph, without formulas and code blocks.

    Examples
    --------
    >>> plain("Ranks, as ``b`` has them:\n``depth`` is γ $`> 0`$, $`\\bar e`$.")
    'Ranks, as b has them: depth is γ > 0.'
    """
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r",? ?\$`[^`]*\\[^`]*`\$", "", text)  # TeX commands are no plain text
    text = re.sub(r"\$`([^`]*)`\$", r"\1", text)
    return " ".join(re.sub(r"`{1,2}", "", text).split())


def paragraph(text: str) -> str:
    """Return the first paragraph as plain text."""
    return plain(text.strip().partition("\n\n")[0])


def line(text: str, width: int) -> str:
    """Return the first sentence of a plain text, cut where it does not fit.

    Parameters
    ----------
    text
        Plain text.
    width
        Maximal number of characters.

    Examples
    --------
    >>> line("Updates; null takes epochs. More of it.", 40)
    'Updates; null takes epochs.'
    >>> line("T. Split of the final table, which is read late", 30)
    'T. Split of the final table …'
    """
    sentence = re.split(r"(?<=[^\s.][^\s.][.!?]) (?=[^a-z])", text, maxsplit=1)[0]
    if len(sentence) <= width:
        return sentence
    return re.sub(r"[\s,;:(]+ …$", " …", textwrap.shorten(sentence, width, placeholder=" …", break_on_hyphens=False))
