"""Escape users' text, so that nothing in it is read as Markdown or HTML."""

import html
import re

_LINES = re.compile(r"[^\S ]+")
_SPECIAL = re.compile(r"([\\`*_\[\]~#|])")


def escape(text: str) -> str:
    r"""Return text that Markdown shows unchanged, in tables, too.

    Examples
    --------
    >>> escape("a_b | <i>")
    'a\\_b \\| &lt;i&gt;'
    """
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: str) -> str:
    r"""Return text as inline code, in tables, too.

    Examples
    --------
    >>> code("a_b | `c`")
    '`` a_b \\| `c` ``'
    """
    line = _LINES.sub(" ", text).replace("|", "\\|")  # spaces must be kept, for example those of "query: "
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{line}{gap}{fence}"
