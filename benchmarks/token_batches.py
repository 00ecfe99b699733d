"""An update of lists of uneven length, cut into batches of as many lists or of as many tokens: processor seconds.

    python benchmarks/token_batches.py

The same 32 lists of 8 documents are read by the same dense student (MiniLM cut to 3 layers), forward and backward, in
four batches: of 8 lists each as they come (``sampler.batch_size=8 trainer.accumulate=4``), or longest first, each
filled up to a quarter of the tokens. Both sum to the same gradient, which is checked. Texts are read as a training
reads them, without padding, and padded, in sub-batches of like length, as backbones are read that cannot do otherwise.
Rounds alternate; the figure is the median of the ratios of processor time, which others on the machine disturb least.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import materials
import numpy as np
import torch

LISTS, DOCUMENTS, PARTS = 32, 8, 4
LONGEST = 256


def lengths(draw: np.random.Generator) -> np.ndarray:
    """Return (lists, documents) lengths: log-normal within a list, and lists that differ: passages beside abstracts."""
    centre = draw.normal(4.0, 0.7, (LISTS, 1))
    return np.exp(draw.normal(centre, 0.5, (LISTS, DOCUMENTS))).round().clip(6, LONGEST).astype(int)


def batch(rows: np.ndarray, chosen: list[int], words: int) -> Any:
    """Return lists as a batch; what a list holds depends on its number alone."""
    from limbeck.types import Batch, Tokens

    def tokens(lengths: list[int], seeds: list[int]) -> Tokens:
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        for row, (length, seed) in enumerate(zip(lengths, seeds, strict=True)):
            ids[row, :length] = np.random.default_rng(seed).integers(1000, words, length)
        return Tokens(torch.from_numpy(ids), torch.from_numpy(mask).long(), lengths=lengths)

    shape = (len(chosen), DOCUMENTS)
    flat = [int(length) for number in chosen for length in rows[number]]
    seeds = [1000 * number + place for number in chosen for place in range(DOCUMENTS)]
    scores = torch.stack([torch.from_numpy(np.random.default_rng(number).normal(size=DOCUMENTS)) for number in chosen])
    return Batch(
        tokens([10] * len(chosen), [10**6 + number for number in chosen]), tokens(flat, seeds),
        torch.arange(len(flat)).view(shape), torch.ones(shape, dtype=torch.bool),
        torch.eye(1, DOCUMENTS).expand(shape), scores.float(),
    )  # fmt: skip


def by_lists(rows: np.ndarray) -> list[list[int]]:
    """Return as many lists a batch, in the order in which they come."""
    return [list(range(start, start + LISTS // PARTS)) for start in range(0, len(rows), LISTS // PARTS)]


def by_tokens(rows: np.ndarray) -> list[list[int]]:
    """Return batches of about as many tokens, the longest lists first."""
    totals = rows.sum(1)
    budget, parts, held = totals.sum() / PARTS, [[]], 0
    for number in np.argsort(-totals, kind="stable").tolist():
        if held and held + totals[number] > budget * 1.02 and len(parts) < PARTS:
            parts.append([])
            held = 0
        parts[-1].append(number)
        held += totals[number]
    return parts


def update(student: Any, batches: list[Any]) -> float:
    """Go through an update's batches; returns the processor time."""
    from limbeck.losses.kl import kl

    start = time.process_time()
    student.zero_grad()
    for each in batches:
        scores = student(each).scores
        (kl(scores, each.teacher_scores, each.labels, each.mask).sum() / LISTS).backward()
    return time.process_time() - start


def main() -> None:
    """Measure, and print a table."""
    from transformers import BertModel

    from limbeck.backbones import packing
    from limbeck.students.dense import Dense

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    asked = parser.parse_args()
    folder, rows = materials.model(asked.layers, asked.cache), lengths(np.random.default_rng(1))
    print("| texts are read | s by lists | s by tokens | by lists / by tokens |\n|---|---:|---:|---:|")
    for name, dropout in (("without padding", 0.1), ("padded, in sub-batches of like length", 0.1)):
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}

        def load(_: str, rates: dict[str, float] = rates, packed: bool = name == "without padding") -> Any:
            model = BertModel.from_pretrained(folder, add_pooling_layer=False, **rates)
            if packed:
                assert packing.enable(model)
            return model

        student = Dense(load).train()
        words = student.backbone.config.vocab_size
        ways = [[batch(rows, part, words) for part in cut(rows)] for cut in (by_lists, by_tokens)]
        student.eval()
        gradients = []
        for way in ways:
            update(student, way)
            gradients.append(torch.cat([each.grad.flatten() for each in student.parameters() if each.grad is not None]))
        apart = ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()
        assert apart < 1e-4, apart
        student.train()
        times = [[update(student, way) for way in ways] for _ in range(asked.rounds)]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        ratio = statistics.median(one / other for one, other in times)
        print(f"| {name} | {medians[0]:.2f} | {medians[1]:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
