"""Text of users as text: nothing in it is read as Markdown or HTML."""

import html
import re

_LINES = re.compile(r"[^\S ]+")
_SPECIAL = re.compile(r"([\\`*_\[\]~#|])")


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, in a table too.

    Examples
    --------
    >>> escape("a_b | <i>")
    'a\\_b \\| &lt;i&gt;'
    """
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: str) -> str:
    r"""Return text as code within a line, in a table too.

    Examples
    --------
    >>> code("a_b | `c`")
    '`` a_b \\| `c` ``'
    """
    line = _LINES.sub(" ", text).replace("|", "\\|")  # spaces count: those of "query: " do
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{line}{gap}{fence}"
