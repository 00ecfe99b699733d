"""Write PDFs with the outlines of their letters (Type 3): to take TrueType fonts apart takes longer than all drawing.

Papers need TrueType; ``analysis/test_figures.py`` tests the figures as users get them.
"""

from limbeck.reporting.drawing import STYLE

SHIPPED = STYLE["pdf.fonttype"]
"""What users get."""


def spare_fonts() -> None:
    """Let all figures of this process have Type 3 fonts."""
    STYLE["pdf.fonttype"] = 3
