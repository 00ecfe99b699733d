"""A deviation stays with its sign: 0.911 ± 0.013 breaks before the sign in a narrow cell, never after it."""

from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Put a space that does not break between ± and its number."""
    return html.replace("± ", "±\N{NO-BREAK SPACE}")
