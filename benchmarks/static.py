"""A static student beside transformers: processor time of a training step and of encoding, and their ratios.

    python benchmarks/static.py                 the first 3 layers of MiniLM, and all 6: about 4 minutes of one core
    python benchmarks/static.py --layers 3

All read the same lists (8 queries × 8 documents of at most 256 tokens) and texts, train with KL in float32 and the same
AdamW, one after the other in this process; the static student starts from MiniLM's vocabulary (384 components). What is
measured is the processor time of this process, which others on the machine change little.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import materials
import ours
import rounds
import torch

from limbeck.processes import end_with_parent

STEPS = {"static": 20, "transformer": 2}
DOCUMENTS = {"static": 2_000, "transformer": 60}


def step(job: dict[str, Any]) -> float:
    """Return the seconds of a training step."""
    from lightning.pytorch.callbacks import Callback

    ends = []

    class Ticks(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            ends.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        ours.training(job, Path(folder), {"ticks": Ticks()}).run()
    return (ends[-1] - ends[job["warmup"] - 1]) / job["steps"]


def document(job: dict[str, Any], count: int) -> float:
    """Return the seconds in which a document is encoded."""
    from limbeck.inference import encode

    _, collection, model, collator = ours.ranker(job)
    ids = (list(collection.document_ids) * (1 + count // len(collection.document_ids)))[:count]
    encode(model, collator, ids[:8], "document")
    start = time.process_time()
    encode(model, collator, ids, "document")
    return (time.process_time() - start) / count


def main() -> None:
    """Measure, and print a table."""
    end_with_parent()
    parser = rounds.parser(__doc__ or "", rounds=1, warmup=1)
    parser.add_argument("--layers", nargs="+", type=int, choices=range(1, 7), default=[3, 6])
    asked: argparse.Namespace = parser.parse_args()
    asked.peers, asked.threads = [], 1
    torch.set_num_threads(asked.threads)
    settings, _ = rounds.ready(asked)
    print("| lists | backbone | a step, ms | times as fast | a document, ms | times as fast |\n|---|---|" + "---:|" * 4)
    for setting in settings:
        found = {}
        for layers in [0, *asked.layers]:
            kind = "transformer" if layers else "static"
            own = {"layers": layers, "student": "dense", "steps": STEPS[kind], "precision": "32-true"}
            own |= {} if layers else {"backbone": "static"}
            lists = (asked.warmup + STEPS[kind]) * materials.BATCH
            job = rounds.job(asked, setting, lists, materials.model(layers or max(asked.layers), asked.cache), own)
            ours.keep_tokens(job)
            found[layers] = step(job), document(job, DOCUMENTS[kind])
        for layers, seconds in found.items():
            name = f"MiniLM, {layers} layers" if layers else "static"
            cells = [f"{1e3 * each:,.2f} | {each / first:,.0f}" for each, first in zip(seconds, found[0], strict=True)]
            print(f"| {setting} | {name} | {' | '.join(cells)} |", flush=True)
    print("\nProcessor time of one thread; *times as fast* is the static student beside the row.")


if __name__ == "__main__":
    main()
