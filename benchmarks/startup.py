"""How long the command takes before it does anything: medians of whole processes, and ratios to a bare interpreter.

python benchmarks/startup.py
"""

import os
import statistics
import subprocess
import sys
import time

from limbeck.processes import end_with_parent, naming_this

LIMBECK = [sys.executable, "-m", "limbeck"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    "limbeck --help": [*LIMBECK, "--help"],
    "limbeck train --cfg job": [*LIMBECK, "train", "--cfg", "job"],
    "limbeck train loss.ckl.gama=3 (mistyped)": [*LIMBECK, "train", "loss.ckl.gama=3"],
}
RUNS = 7


def main() -> None:
    """Time each command in turn, so that a slow moment of the machine falls on all of them."""
    end_with_parent()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(RUNS + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False, env=os.environ | naming_this())
            if run:  # the first round warms the file cache
                seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["python -c pass"])
    print("| command | median s | min | max | ratio |\n|---|---:|---:|---:|---:|")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.3f} | {min(values):.3f} | {max(values):.3f} | {middle / base:.1f} |")


if __name__ == "__main__":
    main()
