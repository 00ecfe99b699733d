"""What a sweep costs beside the training: seconds a job, with tiny models, one job after another.

python benchmarks/sweep.py [--check]

The sweep runs in a process of its own. Of its time, imports (the first job) and the seconds of training that each
``trained.json`` tells are taken away; the rest, over the number of jobs, is what composing, opening the collection,
evaluating and writing cost. ``--check`` fails where that is not under a second.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from limbeck.processes import end_with_parent, naming_this

TINY = [
    "data.world.documents=200", "data.world.topics=6", "data.world.train=60", "data.world.dev=10", "data.world.test=20",
    "backbone.width=16", "backbone.layers=1", "backbone.heads=2", "sampler.batch_size=4", "sampler.negatives=3",
    "trainer.accelerator=cpu", "trainer.steps=8",
]  # fmt: skip
JOBS = 12
LIMIT = 1.0


def sweep(folder: Path, seeds: str) -> tuple[float, str]:
    """Make a sweep over seeds; return its seconds and what it said."""
    command = [sys.executable, "-m", "limbeck", "train", "-m", *TINY, f"seed={seeds}", "name=sweep"]
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | naming_this()
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start, done.stderr


def main() -> None:
    """Print what a job costs."""
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, _ = sweep(folder, "1")  # fills the cache, too
        again, _ = sweep(folder, "1")  # nothing to make
        first, _ = sweep(folder, "101")  # imports, and one job
        numbers = ",".join(str(number) for number in range(1, JOBS + 2))
        whole, printed = sweep(folder, numbers)
        made = [Path(line.rsplit(": ", 1)[0]) for line in re.findall(r"^runs/.*: \d+ s$", printed, re.MULTILINE)]
        training = [json.loads((folder / path / "trained.json").read_text())["seconds"] for path in made]
        # The first of these jobs imports everything, as the single one did: it is left out on both sides.
        overhead = (whole - first - sum(training[1:])) / (len(made) - 1)
        rate = f"{overhead:.2f} s a job beside training ({sum(training) / len(made):.2f} s), over {len(made)} jobs"
    print(
        f"a sweep of one run: {one:.1f} s with an empty cache, {first:.1f} s with a full one, {again:.1f} s if finished"
    )
    print(rate)
    if check and overhead > LIMIT:
        raise SystemExit(f"more than {LIMIT} s")


if __name__ == "__main__":
    main()
