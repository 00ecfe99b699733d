"""What tests spare Lightning and Matplotlib changes nothing that is logged or drawn."""

import pytest
import torch
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
from matplotlib.backends import _backend_pdf_ps
from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import FT2Font, LoadFlags

from sparing import USUAL, as_ever, spare_lightning, spare_matplotlib

ORIGINAL = {name: getattr(_backend_pdf_ps, name) for name in ("get_glyphs_subset", "font_as_file")}
"""Taken while tests are collected; patched after that."""
REDUCED = {
    "each": {"on_step": True, "on_epoch": False},
    "both": {"on_step": True, "on_epoch": True},
    "most": {"on_step": False, "on_epoch": True, "reduce_fx": torch.max},
}


def logged():
    """Log as a training does, over two epochs; returns all that is logged, and what is kept of each value."""
    results, logged = _ResultCollection(training=True), []
    for step in range(6):
        results.batch = torch.zeros(3)
        for name, options in REDUCED.items():
            results.log("training_step", name, torch.tensor(step / 7), batch_size=step + 1, prog_bar=True, **options)
        logged.append(results.metrics(on_step=True))
        if step % 3 == 2:
            results.cpu()
            logged.append(results.metrics(on_step=False))
            results.reset(metrics=True)
    return logged, [{**each.state_dict(), **vars(each.meta)} for each in results.values()]


def test_what_is_logged_is_the_same():
    spare_lightning()
    spared = logged()
    with as_ever():
        ever = logged()
    assert repr(spared) == repr(ever)
    assert spared[0][3]["log"]["both_epoch"] == torch.tensor((0 * 1 + 1 * 2 + 2 * 3) / 6 / 7)


@pytest.mark.parametrize("letters", ["γ = 5, 0.25 ± x", "a sign that is rare: ⇌"])
def test_letters_of_a_pdf_are_the_same(letters, monkeypatch):
    path = findfont("DejaVu Sans")
    glyphs = {letter: get_font(path).get_char_index(ord(letter)) for letter in letters}

    def drawn():
        with _backend_pdf_ps.get_glyphs_subset(path, glyphs.values()) as subset:
            font, found = FT2Font(_backend_pdf_ps.font_as_file(subset.font)), {}
            for letter, glyph in glyphs.items():
                shape = font.load_glyph(subset.glyph_index_map[glyph], flags=LoadFlags.NO_SCALE)
                vertices, codes = font.get_path()
                found[letter] = (shape.horiAdvance, vertices.tolist(), codes.tolist())
        return found, len(subset.glyph_index_map)

    for name in ("get_glyphs_subset", "font_as_file"):  # as they are without tests
        monkeypatch.setattr(_backend_pdf_ps, name, ORIGINAL[name])
    ever, few = drawn()
    spare_matplotlib()
    spared, many = drawn()
    assert spared == ever
    assert len({str(shape) for shape in spared.values()}) == len(set(letters))
    assert (many > few) == (set(letters) <= set(USUAL))
