"""Draw docs/figures/misread.png from the tables beside docs/results/regret.md: python docs/figures/misread.py."""

import json
from pathlib import Path

from limbeck.reporting.drawing import canvas, look, save, styled

DOCS = Path(__file__).parents[1]
LOSSES = {"KL": "KL", "CKL": "CKL", "projected KL (mass=0.8": "projected KL, m = .8", "InfoNCE": "InfoNCE (no teacher)"}
"""How the label of a row begins → the name in the legend."""
STATIC = {f"degraded (noise=0, misread={share}, negated=0)": float(share) for share in ("0", "0.4", "0.8")}
SYNTHETIC = {"right": 0.0, "20 % misread": 0.2, "40 % misread": 0.4, "80 % misread": 0.8}
PANELS = {
    "SciFact, static student": ("regret_static", 1, STATIC),
    "NFCorpus, static student": ("regret_static", 0, STATIC),
    "synthetic world": ("regret_synthetic", 0, SYNTHETIC),
}
"""Title → table, column of its values, teacher → share of the queries that it misreads."""


def values(table: str, column: int, teachers: dict[str, float], begin: str) -> list[tuple[float, float, float]]:
    """Return share of misread queries, mean and standard deviation, of one loss, by share."""
    rows = json.loads((DOCS / "results" / f"{table}.json").read_text(encoding="utf-8"))["rows"]
    found = [
        (teachers[teacher], row["cells"][column]["mean"], row["cells"][column]["std"])
        for row in rows
        for _, teacher, loss in [row["labels"]]
        if teacher in teachers and (loss == begin or loss in (f"{begin})", f"{begin}, evidence=none)"))
    ]
    return sorted(found)


@styled
def main() -> None:
    """Read, and draw."""
    figure, axes = canvas(1, 3, size=(6.9, 2.5))
    for each, (title, place) in zip(axes, PANELS.items(), strict=True):
        for number, (begin, name) in enumerate(LOSSES.items()):
            share, mean, deviation = zip(*values(*place, begin), strict=True)
            colour, marker = look(number)
            percent = [100 * value for value in share]
            each.errorbar(percent, mean, deviation, color=colour, marker=marker, capsize=2, label=name)
        each.set(title=title, xticks=(0, 20, 40, 60, 80))
    axes[0].set_ylabel("nDCG@10 of the student")
    axes[1].set_xlabel("share of the queries that the teacher misreads, in %")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4)
    path = DOCS / "figures" / "misread.png"
    save(figure, path, "What a teacher's errors cost, by loss")
    path.with_suffix(".pdf").unlink()


if __name__ == "__main__":
    main()
