"""Patch Lightning and Matplotlib to skip needless work: the suite trains and draws many hundred times in one process.

The logged values and the drawn letters are the same (``test_sparing.py``). Fresh processes are not patched.
"""

import contextlib
from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from itertools import chain

from lightning.pytorch.trainer.connectors import callback_connector
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultMetric
from torch import Tensor

_TO, _LOAD = _ResultMetric.to, callback_connector._load_external_callbacks


def spare_lightning() -> None:
    """Do not copy logged values to where they are, and search for other packages' callbacks only once."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _moved, cache(_LOAD)


@contextlib.contextmanager
def as_ever() -> Iterator[None]:
    """Undo the patch in this context."""
    _ResultMetric.to, callback_connector._load_external_callbacks = _TO, _LOAD
    try:
        yield
    finally:
        spare_lightning()


def _moved(self, *given, **named):
    """Move a value to a device; return it if all its tensors stay on the processor, where Lightning would copy it."""
    devices = [*given, *named.values(), *(each.device for each in vars(self).values() if isinstance(each, Tensor))]
    return self if all(str(device) == "cpu" for device in devices) else _TO(self, *given, **named)


USUAL = "".join(
    map(chr, chain(range(32, 127), range(0xA0, 0x100), range(0x391, 0x3CA), range(0x2010, 0x2027), [0x2192, 0x2212]))
)
"""ASCII, Latin, Greek, dashes and quotes, an arrow, and the minus sign."""


def spare_matplotlib() -> None:
    """Cut a font for a PDF once, to the usual letters; Matplotlib cuts it for each PDF, to the letters in it."""
    from matplotlib.backends import _backend_pdf_ps
    from matplotlib.font_manager import FontPath, get_font

    cut, write = _backend_pdf_ps.get_glyphs_subset, _backend_pdf_ps.font_as_file
    written: dict[int, bytes] = {}

    @cache
    def usual(path: FontPath) -> _backend_pdf_ps.SubsetResults:
        font = get_font(path)
        with cut(path, {font.get_char_index(ord(letter)) for letter in USUAL}) as found:
            written[id(found.font)] = write(found.font).getvalue()
        return found

    def cut_once(path: FontPath, glyphs: Iterable[int]):
        known = usual(path)
        return contextlib.nullcontext(known) if known.glyph_index_map.keys() >= set(glyphs) else cut(path, glyphs)

    def write_once(font) -> BytesIO:
        return BytesIO(written[id(font)]) if id(font) in written else write(font)

    _backend_pdf_ps.get_glyphs_subset, _backend_pdf_ps.font_as_file = cut_once, write_once
