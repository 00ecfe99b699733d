"""Draw docs/figures/good_and_weak.png from docs/results/small.md: python docs/figures/good_and_weak.py."""

import re
from pathlib import Path

from limbeck.reporting.drawing import PALETTE, canvas, save

DOCS = Path(__file__).parents[1]
LOSSES = ("KL", "CKL")


def main() -> None:
    """Read, and draw."""
    text = (DOCS / "results" / "small.md").read_text(encoding="utf-8").split("Under a weak teacher", 1)[1]
    weak = {name: values for name, *values in re.findall(r"^\| (\w+) \| \**(\.\d+)\** ± (\.\d+)", text, re.MULTILINE)}
    control = text.split("The control, the same lists under MiniLM:", 1)[1]
    good = {name: values for name, *values in re.findall(r"\b(KL|CKL) (\.\d+) ± (\.\d+)", control)}
    figure, (axes,) = canvas(size=(6.2, 3.0))
    for number, loss in enumerate(LOSSES):
        (good_mean, good_deviation), (weak_mean, weak_deviation) = (map(float, table[loss]) for table in (good, weak))
        axes.errorbar(
            [0.03 * number, 1 + 0.03 * number], [good_mean, weak_mean], [good_deviation, weak_deviation],
            color=PALETTE[number], marker="os"[number], capsize=3, label=loss,
        )  # fmt: skip
    ticks = ["under MiniLM", "under a weak teacher"]
    axes.set(xticks=range(2), xticklabels=ticks, xlim=(-0.4, 1.4), ylabel="nDCG@10 of the student")
    axes.legend(frameon=False, loc="lower left")
    save(figure, DOCS / "figures" / "good_and_weak.png", "A dense student under a good and a weak teacher, by loss")


if __name__ == "__main__":
    main()
