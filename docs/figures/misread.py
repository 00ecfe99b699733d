"""Draw docs/figures/misread.png from the tables beside docs/results/regret.md: python docs/figures/misread.py."""

import json
from pathlib import Path

from limbeck.reporting.drawing import canvas, look, save, styled

DOCS = Path(__file__).parents[1]
PROJECTED = "projected KL (mass=0.8)"
LOSSES = {
    "KL": ("KL",),
    "CKL": ("CKL",),
    "projected KL, m = .8": (PROJECTED, f"{PROJECTED[:-1]}, evidence=none)", "projected KL"),
    "InfoNCE (no teacher)": ("InfoNCE",),
}
"""Name in the legend → labels of its rows."""
STATIC = {f"degraded (noise=0, misread={share}, negated=0)": float(share) for share in ("0", "0.4", "0.8")}
COLBERT = {"MiniLM": 0.0, "MiniLM, 40 % misread": 0.4, "MiniLM, 80 % misread": 0.8}
SYNTHETIC = {"right": 0.0, "20 % misread": 0.2, "40 % misread": 0.4, "80 % misread": 0.8}
PANELS = {
    "SciFact, static student": ("regret_static", 1, STATIC),
    "synthetic world, dense student": ("regret_synthetic", 0, SYNTHETIC),
    "NFCorpus, warm ColBERT, own negatives": ("regret_colbert", 0, COLBERT),
    "the same, one positive a query": ("regret_one_positive", 0, COLBERT),
}
"""Title → table, column of its values, teacher → share of the queries that it misreads."""


def values(table: str, column: int, teachers: dict[str, float], labels: tuple[str, ...]) -> list[tuple[float, ...]]:
    """Return shares of misread queries, means and standard deviations of one loss; nothing if the table lacks it."""
    rows = json.loads((DOCS / "results" / f"{table}.json").read_text(encoding="utf-8"))["rows"]
    found = [
        (teachers[teacher], row["cells"][column]["mean"], row["cells"][column]["std"])
        for row in rows
        for _, teacher, loss in [row["labels"]]
        if teacher in teachers and loss in labels
    ]
    return [tuple(each) for each in zip(*sorted(found), strict=True)]


@styled
def main() -> None:
    """Read, and draw."""
    figure, axes = canvas(2, 2, size=(6.9, 4.6))
    for each, (title, place) in zip(axes, PANELS.items(), strict=True):
        for number, (name, labels) in enumerate(LOSSES.items()):
            colour, marker = look(number)
            if drawn := values(*place, labels):
                share, mean, deviation = drawn
                percent = [100 * value for value in share]
                each.errorbar(percent, mean, deviation, color=colour, marker=marker, capsize=2, label=name)
        each.set(title=title, xticks=(0, 20, 40, 60, 80))
    axes[3].set_ylim(axes[2].get_ylim())
    for left, below in zip(axes[::2], axes[2:], strict=True):
        left.set_ylabel("nDCG@10 of the student")
        below.set_xlabel("queries that the teacher misreads, in %")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4)
    path = DOCS / "figures" / "misread.png"
    save(figure, path, "What a teacher's errors cost, by loss")
    path.with_suffix(".pdf").unlink()


if __name__ == "__main__":
    main()
