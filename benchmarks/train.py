"""Training beside the peers: queries/s, peak memory, seconds to the first step.

    python benchmarks/train.py             dense students and cross-encoders, 3 layers, KL: about 12 minutes on 2 cores
    python benchmarks/train.py --full      four students, KL and CKL, 3 and 6 layers, more steps: some hours, 16 GB
    python benchmarks/train.py --profile   where the time of our step goes
    python benchmarks/train.py --check     fail where a limit is not kept

Every program does the same steps: the same lists in the same order, 8 queries × 8 documents, the same MiniLM cut to its
first layers, float32, AdamW, gradients clipped at 1, the checkpoint's dropout on, as many threads. Ours is what
``limbeck train`` runs by default. Peers run what their documentation shows, in environments of their own (``peers/``),
which are made when they are first needed. They have KL, not CKL; sentence-transformers' cross-encoders learn from
``ListNetLoss``, which has the gradient of KL. SPLADE students have a FLOPS term beside the loss, in all programs.
``seconds to the first step`` is from the start of the process; ours finds its tokens kept, as all but the first
training on a collection does.

On a GPU: ``--device cuda --precision bf16-mixed``. That is untried: no GPU was at hand when this was written.
"""

import argparse
from itertools import product
from typing import Any

import materials
import ours
import rounds

from limbeck.processes import end_with_parent

STUDENTS = ("dense", "splade", "colbert", "cross_encoder")
STEPS = {"dl": 3, "nfcorpus": 2, "synthetic": 6}
"""Steps that are timed."""
FULL = 4
"""Times as many with ``--full``; but for SPLADE students, of which a step of the peers takes five times as long."""
LEAST = {"dl": 1.5, "nfcorpus": 1.1}
"""What our rate must be of the faster peer's; for dense students and cross-encoders."""


def jobs(asked: argparse.Namespace, settings: list[str]) -> list[dict[str, Any]]:
    """Return the jobs: one for each setting, number of layers, student and loss."""
    made = []
    for setting, layers, student, loss in product(settings, asked.layers, asked.students, asked.losses):
        steps = asked.steps or STEPS[setting] * (FULL if asked.full and student != "splade" else 1)
        own = {"layers": layers, "student": student, "loss": loss, "steps": steps, "precision": asked.precision}
        lists = (asked.warmup + steps) * materials.BATCH
        made.append(rounds.job(asked, setting, lists, materials.model(layers, asked.cache), own))
    return made


def main() -> None:
    """Measure, and print a table."""
    end_with_parent()
    parser = rounds.parser(__doc__ or "", rounds=3, warmup=1)
    parser.add_argument("--students", nargs="+", choices=STUDENTS)
    parser.add_argument("--losses", nargs="+", choices=["kl", "ckl"])
    parser.add_argument("--layers", nargs="+", type=int, choices=range(1, 7))
    parser.add_argument("--steps", type=int, help="steps that are timed")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--check", action="store_true", help="fail where a limit is not kept")
    parser.add_argument("--profile", action="store_true", help="print where the time of our step goes")
    parser.add_argument("--peak", type=float, help="peak FLOP/s of the device, for --profile")
    asked = parser.parse_args()
    asked.students = asked.students or (STUDENTS if asked.full else ("dense", "cross_encoder"))
    asked.losses = asked.losses or (["kl", "ckl"] if asked.full else ["kl"])
    asked.layers = asked.layers or ([3, 6] if asked.full else [3])
    if asked.profile:
        asked.peers = []
    settings, peers = rounds.ready(asked)
    made = jobs(asked, settings)
    if asked.profile:
        from profiling import profile

        for job in made:
            profile(job, asked.peak)
        return
    seen = set()
    found = []
    for job in made:
        if job["data"] not in seen:
            ours.keep_tokens(job)
            seen.add(job["data"])
        programs = rounds.commands("train", peers if job["loss"] == "kl" else {})
        found.append(rounds.measure(job, programs, asked))
    keys = {"setting": "lists", "layers": "layers", "student": "student", "loss": "loss"}
    rounds.table(found, keys, "queries")
    limited = [each for each in found if each.job["student"] in ("dense", "cross_encoder")]
    broken = rounds.keeps(limited, LEAST)
    if asked.check and broken:
        raise SystemExit("not kept: " + "; ".join(broken))


if __name__ == "__main__":
    main()
