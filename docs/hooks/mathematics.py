"""Formulas, in fences and between $` and `$ as code hosts have them, become MathML: browsers draw it themselves."""

import re
import textwrap
from typing import Any, Literal

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger

_BLOCK = re.compile(r"^( *)```math\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)
_log = get_plugin_logger("mathematics")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the extension to those of the pages and of the docstrings."""
    config.markdown_extensions.append(Mathematics())  # pyright: ignore[reportArgumentType]
    return config


def mathml(formula: str, display: Literal["inline", "block"] = "inline") -> str:
    """Return a formula as MathML; a command that is not known is a warning, which ends a strict build."""
    spaced = re.sub(r"\\(ln|log)\b", r"\\,\\\1\\,", textwrap.dedent(formula).strip())  # MathML leaves none around names
    made = convert(spaced.replace("\\log\\,_", "\\log_"), display=display)
    if unknown := re.findall(r">\\?(\\[a-zA-Z]+)", made):
        _log.warning("the formula %s has what latex2mathml does not know: %s", formula.strip(), ", ".join(unknown))
    return made


class Mathematics(Extension):
    """The two forms of a formula."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register both, before code is read as code."""
        md.preprocessors.register(_Blocks(md), "limbeck_math_block", 30)
        md.inlinePatterns.register(_Inline(r"\$`([^`]+)`\$", md), "limbeck_math", 195)


class _Blocks(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        """Replace fences by MathML, which Markdown takes over as it is."""

        def typeset(found: re.Match[str]) -> str:
            formula = mathml(found[2], display="block")
            return found[1] + self.md.htmlStash.store(f'<div class="formula">{formula}</div>')

        return _BLOCK.sub(typeset, "\n".join(lines)).split("\n")


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, int, int]:  # type: ignore[override]  # noqa: N802
        """Return the formula as an element of the line."""
        return self.md.htmlStash.store(mathml(m[1])), m.start(0), m.end(0)
